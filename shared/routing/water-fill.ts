/** A target that carries `load` of its `capacity`, both in requests. */
export interface FilledTarget {
  readonly load: number;
  /** > 0. */
  readonly capacity: number;
}

/**
 * How much each target should get of what came since its load was measured, as shares that add up to 1: filling the emptiest
 * first until `arrived` is used up, levels being shares of capacity (Dahlin, "Interpreting Stale Load Information", 2000).
 * Little arrived: the emptiest alone, because the measurement still holds. Much arrived: shares of capacity, because nothing
 * is known any more. O(n log n).
 */
export function fillShares(targets: readonly FilledTarget[], arrived: number): readonly number[] {
  const sorted = targets.toSorted((a, b) => a.load / a.capacity - b.load / b.capacity);
  let capacity = 0;
  let load = 0;
  let level = 0;
  // At least the request in hand: of equals nobody is the emptiest.
  const amount = Math.max(arrived, 1);
  for (const [at, target] of sorted.entries()) {
    capacity += target.capacity;
    load += target.load;
    level = (load + amount) / capacity;
    const next = sorted[at + 1];
    if (next === undefined || level <= next.load / next.capacity) break;
  }
  const gaps = targets.map((target) => Math.max(0, level * target.capacity - target.load));
  const sum = gaps.reduce((total, gap) => total + gap, 0);
  return gaps.map((gap) => gap / sum);
}
