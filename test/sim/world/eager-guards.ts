import type { TurnGuards } from "#regional/turns/turn-guards.ts";
import type { Recorder } from "../checkers/recorder.ts";
import type { Random } from "../random.ts";

/** A cell that hedges most of its turns soon, and retries as often as the policy lets it: no budget hides a seam. */
export function eagerGuards(random: Random, recorder: Recorder): TurnGuards {
  return {
    conditions: (_request, elsewhere) => ({
      mayRetry: true,
      get mayHedge() {
        return random.chance(0.7);
      },
      get elsewhere() {
        return elsewhere();
      },
      random: () => random.unit(),
    }),
    plan: (_request, _slot, isFirst) => ({
      firstTokenTimeoutMs: 10_000,
      overdueMs: null,
      overdueTokens: 1,
      endMs: 0,
      hedgeMs: isFirst ? 100 : null,
    }),
    dispatched: () => undefined,
    retried: () => undefined,
    hedged: () => recorder.sometimes("a second shard was asked the same"),
    hedgeEnded(result) {
      if (result === "won") recorder.sometimes("a hedge was the answer");
    },
    spoke: () => undefined,
  };
}
