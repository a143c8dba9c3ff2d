import type { Priority } from "../config/topology.ts";

/** What the end of a turn is foreseen from. */
export interface FinishInput {
  /** Work that is served before it, tokens. */
  readonly workBeforeTokens: number;
  readonly drainTokensPerSecond: number;
  /** Predicted for the load that there will be when its prefill ends ({@link loadShareAt}); null: not known. */
  readonly predicted: {
    readonly ttftSeconds: number;
    readonly interTokenSeconds: number;
    readonly outputTokens: number;
  } | null;
}

/** Whether a turn that must wait is worth its wait. */
export type FinishDecision =
  | { readonly kind: "worthwhile"; readonly reason: "inTime"; readonly waitMs: number }
  | {
      readonly kind: "refuse";
      /** `deadlineTooShort`: not even begun in time on free shards; `predictedLate`: too late behind what waits; `waitTooLong`: longer than its class waits. */
      readonly reason: "deadlineTooShort" | "predictedLate" | "waitTooLong";
      readonly waitMs: number;
    };

/**
 * A predicted wait may be longer than the class waits by this factor (our choice): predictions err, and a turn that is refused
 * for nothing costs more than one that waits in vain.
 */
const waitSlack = 1.5;

/**
 * Predicted wait of a turn, ms: what is served before it at the rate at which it is drained. 0 where no rate is known, as when
 * nothing runs: nobody is refused on a guess.
 */
export function foreseeWaitMs(workBeforeTokens: number, drainTokensPerSecond: number): number {
  if (!(workBeforeTokens > 0) || !(drainTokensPerSecond > 0)) return 0;
  return (1_000 * workBeforeTokens) / drainTokensPerSecond;
}

/**
 * Refuses early what would be finished after its deadline (wait + time to first token + answer × time per token), or would
 * wait for longer than its class: the client hears it at once, and no shard computes what nobody waits for.
 */
export function foreseeFinish(
  turn: { readonly priority: Priority; readonly deadlineMs: number },
  input: FinishInput,
  nowMs: number,
  waitMsMax: Readonly<Record<Priority, number>>,
): FinishDecision {
  const waitMs = foreseeWaitMs(input.workBeforeTokens, input.drainTokensPerSecond);
  const remainingMs = turn.deadlineMs - nowMs;
  if (input.predicted !== null) {
    const { interTokenSeconds, outputTokens, ttftSeconds } = input.predicted;
    const ttftMs = 1_000 * ttftSeconds;
    if (ttftMs > remainingMs) return { kind: "refuse", reason: "deadlineTooShort", waitMs };
    const answerMs = 1_000 * interTokenSeconds * Math.max(0, outputTokens - 1);
    if (waitMs > 0 && waitMs + ttftMs + answerMs > remainingMs) {
      return { kind: "refuse", reason: "predictedLate", waitMs };
    }
  }
  if (waitMs > waitSlack * waitMsMax[turn.priority]) {
    return { kind: "refuse", reason: "waitTooLong", waitMs };
  }
  return { kind: "worthwhile", reason: "inTime", waitMs };
}

/**
 * Share of the present load that there will be at `atMs`, 0..1: running turns that will have ended by then are subtracted, those
 * that wait before and will have begun are added. Judged by the load of this moment, early refusal swings between refusing all
 * and none.
 */
export function loadShareAt(
  endsAtMs: readonly number[],
  waitingBefore: number,
  atMs: number,
): number {
  if (endsAtMs.length === 0) return 0;
  let still = 0;
  for (const endMs of endsAtMs) if (endMs > atMs) still += 1;
  return Math.min(1, (still + waitingBefore) / endsAtMs.length);
}
