import type { TryResult } from "../conversation/turn-events.ts";
import type { AnswerEnd } from "./shard-health.ts";

/** What an ended try says of its shard's health. */
export function answerEndOf(
  result: TryResult,
  answer: {
    readonly tokens: number;
    readonly repeatedShare?: number;
    /** Null: there was no first token. */
    readonly firstTokenAtMs: number | null;
    readonly batch: number;
  },
  nowMs: number,
): AnswerEnd {
  const { batch, firstTokenAtMs, repeatedShare = 0, tokens } = answer;
  const isSuccess = result.kind === "succeeded";
  const isInvalid = result.kind === "failed" && result.failure.reason === "invalid";
  const hasSpeed = firstTokenAtMs !== null && tokens > 1;
  return {
    isSuccess,
    secondsPerToken: hasSpeed ? (nowMs - firstTokenAtMs) / 1_000 / (tokens - 1) : null,
    batch,
    // What broke off says nothing of what it would have been; the breaker and the share of failures count it.
    traits: isSuccess || isInvalid ? { tokens, repeatedShare, isValid: !isInvalid } : null,
  };
}
