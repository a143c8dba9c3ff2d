/** What a shard carries, of what it can carry now. */
export interface LoadedTarget<Id extends string> {
  readonly id: Id;
  readonly inFlight: number;
  /** ≥ 1. */
  readonly concurrentRequestsMax: number;
  /** Health weight in (0, 1]. */
  readonly weight: number;
}

/** Least loaded first, by the share of healthy capacity in use after one more request; equals in an order drawn by `random`. */
export function rankByLoad<Id extends string>(
  targets: readonly LoadedTarget<Id>[],
  random: () => number,
): readonly Id[] {
  return targets
    .map(({ id, inFlight, concurrentRequestsMax, weight }) => ({
      id,
      load: (inFlight + 1) / (concurrentRequestsMax * weight),
      lot: random(),
    }))
    .toSorted((left, right) => left.load - right.load || left.lot - right.lot)
    .map(({ id }) => id);
}
