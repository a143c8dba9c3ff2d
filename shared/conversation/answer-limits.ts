import type { ChoiceState } from "./answer-so-far.ts";
import type { TurnContext } from "./turn-lateness.ts";
import type { TurnState } from "./turn-state.ts";

/** Whether the current shard gave more tokens than it counted. An echoed prompt is among those given. */
export function hasRepeatedTokens(
  { choices, usage, try: current }: TurnState,
  { request }: Pick<TurnContext, "request">,
): boolean {
  const isKnown = usage !== null && choices.every(({ hasAllTokenIds }) => hasAllTokenIds);
  if (!isKnown || current.agreement !== null || request.engine.body["echo"] === true) return false;
  const given = choices.reduce((sum, { tokenCount }) => sum + tokenCount, 0);
  return given - current.tokensBefore > usage.completionTokens;
}

/** Pieces that one choice may have for each token that it may have: some engines cut a tool call into several. */
const piecesPerTokenMax = 2;
const piecesOverMax = 64;

/** Whether a choice is longer than the client allows and than the model's context: its engine never ends. */
export function isEndless(
  state: TurnState,
  choices: readonly ChoiceState[],
  choice: number,
): boolean {
  if (state.tokensMax === null) return false;
  const { pieceCount = 0, surplusTokens = 0 } = choices[choice] ?? {};
  return pieceCount + surplusTokens > piecesPerTokenMax * state.tokensMax + piecesOverMax;
}
