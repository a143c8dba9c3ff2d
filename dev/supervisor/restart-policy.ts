/** What follows a crash. */
export type RestartStep =
  | { readonly kind: "restart"; readonly delayMs: number }
  | { readonly kind: "give-up"; readonly crashes: number };

/** Limits of restarting, times in ms. */
export interface RestartPolicy {
  readonly delayMsMin: number;
  readonly delayMsMax: number;
  readonly crashesMax: number;
  readonly windowMs: number;
}

/** Ours: one crash is repaired before a reader of the terminal wonders, a loop of crashes leaves the processor to the others. */
export const restartPolicy: RestartPolicy = {
  delayMsMin: 200,
  delayMsMax: 5_000,
  crashesMax: 10,
  windowMs: 60_000,
};

/**
 * Whether and when a crashed part starts again. `crashesAtMs` holds the times of its crashes, the present one included;
 * only those of the last minute count. The delay doubles from 200 ms to 5 s; the tenth crash within a minute is the last.
 */
export function nextRestart(
  crashesAtMs: readonly number[],
  nowMs: number,
  policy: RestartPolicy = restartPolicy,
): RestartStep {
  const recent = crashesAtMs.filter((atMs) => atMs > nowMs - policy.windowMs).length;
  if (recent >= policy.crashesMax) return { kind: "give-up", crashes: recent };
  const doubled = policy.delayMsMin * 2 ** Math.max(recent - 1, 0);
  return { kind: "restart", delayMs: Math.min(doubled, policy.delayMsMax) };
}
