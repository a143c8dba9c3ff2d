/**
 * The level `f` at which `demands`, each cut to at most `f`, add up to `capacity`: the max-min fair share. Whoever asks for no
 * more than `f` gets all of it, and what they leave is shared by the others. Infinity where all fit. O(n) for most n, O(n²) at
 * worst; all ≥ 0.
 */
export function waterLevel(demands: readonly number[], capacity: number): number {
  let left = Math.max(0, capacity);
  let open = demands;
  for (;;) {
    if (open.length === 0) return Number.POSITIVE_INFINITY;
    const level = left / open.length;
    const above = open.filter((demand) => demand > level);
    if (above.length === open.length) return level;
    for (const demand of open) if (demand <= level) left -= demand;
    left = Math.max(0, left);
    open = above;
  }
}
