import type { DeltaEvent, ToolCallDelta } from "../protocol/engine-event.ts";

/** What a client has been given of one choice: enough to go on from elsewhere, or to compare another answer with. */
export interface ChoiceState {
  /** Its pieces in order, neighbours of one kind merged; without log probabilities and token ids. */
  readonly said: readonly DeltaEvent[];
  /** Token ids as far as the engine gives them. Append-only: later states share the array, `tokenCount` is each one's end. */
  readonly tokenIds: readonly number[];
  readonly tokenCount: number;
  /** Tokens up to the last piece that said something: those beyond are part of a character that is not whole. */
  readonly saidTokenCount: number;
  /** Pieces that said something, as they were delivered: engines send a token at a time unless they are behind. */
  readonly pieceCount: number;
  /** Tokens beyond one for each piece: of pieces that were made of several, and of a part whose token ids are not known here. */
  readonly surplusTokens: number;
  /** Whether each piece came with its token ids. */
  readonly hasAllTokenIds: boolean;
  readonly hasToolCalls: boolean;
  readonly hasReasoning: boolean;
  readonly finishReason: string | null;
}

const emptyChoice: ChoiceState = {
  said: [],
  tokenIds: [],
  tokenCount: 0,
  saidTokenCount: 0,
  pieceCount: 0,
  surplusTokens: 0,
  hasAllTokenIds: true,
  hasToolCalls: false,
  hasReasoning: false,
  finishReason: null,
};

/** The choice's text, without reasoning, refusal and tool calls. */
export function textOf(choice: ChoiceState): string {
  return choice.said.map(({ text }) => text ?? "").join("");
}

/** Tokens of the choice: counted where the engine gives their ids, else one per piece and what is known beyond that. */
export function tokensOf(choice: ChoiceState): number {
  const { hasAllTokenIds, pieceCount, surplusTokens, tokenCount } = choice;
  return hasAllTokenIds ? tokenCount : Math.max(tokenCount, pieceCount + surplusTokens);
}

/** Tokens of all choices beyond one for each piece: what a cell that only has the frames cannot see. */
export function surplusTokensOf(choices: readonly ChoiceState[]): number {
  let sum = 0;
  for (const choice of choices) sum += Math.max(0, tokensOf(choice) - choice.pieceCount);
  return sum;
}

/** The choices with what an earlier cell counted beyond one token for each piece; of several choices the first has it. */
export function withSurplus(
  choices: readonly ChoiceState[],
  surplusTokens: number,
): readonly ChoiceState[] {
  return choices.map((choice, index) => (index === 0 ? { ...choice, surplusTokens } : choice));
}

/** UTF-16 units that a piece adds to the answer. */
export function charactersOf(delta: DeltaEvent): number {
  let sum =
    (delta.text?.length ?? 0) + (delta.reasoning?.length ?? 0) + (delta.refusal?.length ?? 0);
  for (const call of delta.toolCalls ?? []) {
    sum += (call.arguments?.length ?? 0) + (call.name?.length ?? 0) + (call.id?.length ?? 0);
  }
  return sum;
}

/** Whether a piece says anything: engines open with an empty role chunk, which is no token. */
export function saysSomething(delta: DeltaEvent): boolean {
  return (
    charactersOf(delta) > 0 ||
    (delta.toolCalls?.length ?? 0) > 0 ||
    (delta.tokenIds?.length ?? 0) > 0 ||
    delta.finishReason !== undefined ||
    (delta.logprobs ?? null) !== null
  );
}

/** The choices with one more piece. */
export function withDelta(
  choices: readonly ChoiceState[],
  delta: DeltaEvent,
): readonly ChoiceState[] {
  const next = [...choices];
  while (next.length <= delta.choice) next.push(emptyChoice);
  const old = next[delta.choice] ?? emptyChoice;
  const characters = charactersOf(delta);
  const tokenCount = old.tokenCount + (delta.tokenIds?.length ?? 0);
  next[delta.choice] = {
    said: withSaid(old.said, delta),
    tokenIds: appendTokens(old, delta.tokenIds ?? []),
    tokenCount,
    saidTokenCount: characters > 0 ? tokenCount : old.saidTokenCount,
    pieceCount: old.pieceCount + (characters > 0 ? 1 : 0),
    surplusTokens: old.surplusTokens + (characters > 0 ? (delta.pieces ?? 1) - 1 : 0),
    hasAllTokenIds: old.hasAllTokenIds && (characters === 0 || (delta.tokenIds?.length ?? 0) > 0),
    hasToolCalls: old.hasToolCalls || (delta.toolCalls?.length ?? 0) > 0,
    hasReasoning: old.hasReasoning || (delta.reasoning ?? "") !== "",
    finishReason: delta.finishReason ?? old.finishReason,
  };
  return next;
}

/** The choice without the tokens of a character that is not whole: whoever goes on generates them again. */
export function withoutUnsaid(choice: ChoiceState): ChoiceState {
  const { tokenIds, tokenCount, saidTokenCount } = choice;
  if (tokenCount === saidTokenCount) return choice;
  return { ...choice, tokenIds: tokenIds.slice(0, saidTokenCount), tokenCount: saidTokenCount };
}

/** Pushes onto the shared array, so that a long answer costs O(1) per token; copies when `old` is not its newest holder. */
function appendTokens(old: ChoiceState, added: readonly number[]): readonly number[] {
  if (added.length === 0) return old.tokenIds;
  const isNewest = old.tokenCount > 0 && old.tokenIds.length === old.tokenCount;
  const target = isNewest ? (old.tokenIds as number[]) : old.tokenIds.slice(0, old.tokenCount);
  for (const id of added) target.push(id);
  return target;
}

/** The pieces of a delta one by one, in the order in which encoders take them. */
function partsOf({ choice, ...delta }: DeltaEvent): readonly DeltaEvent[] {
  const parts: DeltaEvent[] = [];
  const { reasoning, text, refusal, toolCalls, finishReason } = delta;
  if (reasoning !== undefined && reasoning !== "") parts.push({ kind: "delta", choice, reasoning });
  if (text !== undefined && text !== "") parts.push({ kind: "delta", choice, text });
  if (refusal !== undefined && refusal !== "") parts.push({ kind: "delta", choice, refusal });
  for (const call of toolCalls ?? []) parts.push({ kind: "delta", choice, toolCalls: [call] });
  if (finishReason !== undefined) parts.push({ kind: "delta", choice, finishReason });
  return parts;
}

function joinCalls(last: ToolCallDelta, next: ToolCallDelta): ToolCallDelta | null {
  if (last.index !== next.index || next.name !== undefined) return null;
  return { ...last, arguments: (last.arguments ?? "") + (next.arguments ?? "") };
}

/** One piece out of two neighbours of one kind, or null when they are of two. */
function join(last: DeltaEvent, next: DeltaEvent): DeltaEvent | null {
  const { choice } = last;
  if (last.text !== undefined && next.text !== undefined)
    return { kind: "delta", choice, text: last.text + next.text };
  if (last.reasoning !== undefined && next.reasoning !== undefined)
    return { kind: "delta", choice, reasoning: last.reasoning + next.reasoning };
  if (last.refusal !== undefined && next.refusal !== undefined)
    return { kind: "delta", choice, refusal: last.refusal + next.refusal };
  const lastCall = last.toolCalls?.[0];
  const nextCall = next.toolCalls?.[0];
  if (lastCall === undefined || nextCall === undefined) return null;
  const call = joinCalls(lastCall, nextCall);
  return call === null ? null : { kind: "delta", choice, toolCalls: [call] };
}

function withSaid(said: readonly DeltaEvent[], delta: DeltaEvent): readonly DeltaEvent[] {
  const next = [...said];
  for (const part of partsOf(delta)) {
    const last = next.at(-1);
    const joined = last === undefined ? null : join(last, part);
    if (joined === null) next.push(part);
    else next[next.length - 1] = joined;
  }
  return next;
}
