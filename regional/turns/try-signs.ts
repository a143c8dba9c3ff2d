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

/**
 * Whether a shard broke off inside its answer: it may have died of the prompt. One that cannot be reached, or breaks off before
 * it answers at all, was most likely gone already: of a whole cell's outage no prompt is to blame.
 */
export function hasBroken(result: TryResult): boolean {
  return result.kind === "failed" && result.failure.reason === "cut";
}
