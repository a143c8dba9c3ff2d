import { mayPrewarm } from "#shared/overload/level-switches.ts";
import type { DegradationLevel } from "#shared/overload/level-policy.ts";
import type { Prewarmer } from "../scheduler/prewarmer.ts";

/** How long the asker waits before it asks again, ms: about how long the lowest level lasts at least. */
const retryAfterMs = 15_000;

/** A prewarmer that computes nothing ahead while the level forbids it; whoever asks is told to wait. */
export function gatePrewarm(prewarmer: Prewarmer, level: () => DegradationLevel): Prewarmer {
  return {
    ...prewarmer,
    warm: (request, traceparent) =>
      mayPrewarm(level())
        ? prewarmer.warm(request, traceparent)
        : Promise.resolve({ kind: "limited", retryAfterMs }),
  };
}
