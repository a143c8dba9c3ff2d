import { textOf } from "#shared/conversation/answer-so-far.ts";
import type { ChoiceState } from "#shared/conversation/answer-so-far.ts";
import type { TryResult } from "#shared/conversation/turn-events.ts";

/** The tokens of the first choice where the engine names them, else its words. */
export function tokensSaid([choice]: readonly ChoiceState[]): readonly (number | string)[] {
  if (choice === undefined) return [];
  const { hasAllTokenIds, tokenCount, tokenIds } = choice;
  return hasAllTokenIds && tokenCount > 0
    ? tokenIds.slice(0, tokenCount)
    : textOf(choice).split(/\s+/);
}

/** Whether a shard took the prompt and then broke off: it may have died of it. */
export function hasBroken(result: TryResult): boolean {
  if (result.kind !== "failed") return false;
  const { failure } = result;
  return (
    failure.reason === "cut" || (failure.reason === "unreachable" && failure.wasConnected === true)
  );
}
