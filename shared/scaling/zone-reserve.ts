/** A pool as the reserve sees it. */
export interface ZonedPool {
  readonly id: string;
  /** Where the replicas are, the first one first; all further ones are where the last one is. */
  readonly zones: readonly string[];
  readonly replicasMin: number;
  readonly replicasMax: number;
  readonly there: number;
  /** It cannot be seen or changed. */
  readonly isFrozen: boolean;
  /** It gave less than was asked lately: what would be asked of it is not counted on. */
  readonly isShort: boolean;
}

/** Replicas by zone. */
export type ZoneCounts = Readonly<Record<string, number>>;

/** The zone of a pool's replica, counted from 0. */
function zoneOf({ zones }: Pick<ZonedPool, "zones">, index: number): string {
  return zones[Math.min(index, zones.length - 1)] ?? "";
}

/** Replicas of some pools by zone, with those that no pool has. */
export function countByZone(
  pools: readonly Pick<ZonedPool, "id" | "zones">[],
  countOf: (id: string) => number,
  fixed: ZoneCounts,
): ReadonlyMap<string, number> {
  const counts = new Map(Object.entries(fixed));
  for (const pool of pools) {
    for (let index = 0; index < countOf(pool.id); index += 1) {
      const zone = zoneOf(pool, index);
      counts.set(zone, (counts.get(zone) ?? 0) + 1);
    }
  }
  return counts;
}

/** Replicas that are left when the zone with the most of them is lost. */
export function leftWithoutLargest(counts: ReadonlyMap<string, number>): number {
  const all = [...counts.values()];
  return all.reduce((sum, one) => sum + one, 0) - Math.max(0, ...all);
}

/** Whether the loss of a zone leaves another one to go on in. */
export function hasOtherZone(pools: readonly ZonedPool[], fixed: ZoneCounts): boolean {
  const growable = pools.filter(({ replicasMax }) => replicasMax > 0);
  const zones = new Set([...Object.keys(fixed), ...growable.flatMap((pool) => pool.zones)]);
  return zones.size > 1;
}

/** Zones of the replicas that a pool can still get. */
function zonesLeft(pool: Pick<ZonedPool, "replicasMax" | "zones">, count: number): string[] {
  const last = Math.min(pool.replicasMax, pool.zones.length);
  return count < last ? pool.zones.slice(count, last) : [zoneOf(pool, count)];
}

/**
 * The pools of which one more replica makes more be left without the largest zone, or brings that nearer: those whose next one is in
 * the emptiest zone. None where all that can come would be in the largest zone alone.
 */
export function poolsForReserve<T extends Pick<ZonedPool, "id" | "replicasMax" | "zones">>(
  growable: readonly T[],
  countOf: (id: string) => number,
  byZone: ReadonlyMap<string, number>,
): readonly T[] {
  const largest = Math.max(0, ...byZone.values());
  const zones = new Set(growable.flatMap((pool) => zonesLeft(pool, countOf(pool.id))));
  const helps = zones.size > 1 || [...zones].some((zone) => (byZone.get(zone) ?? 0) < largest);
  if (!helps) return [];
  const nextCount = (pool: T): number => byZone.get(zoneOf(pool, countOf(pool.id))) ?? 0;
  const least = Math.min(...growable.map(nextCount));
  return growable.filter((pool) => nextCount(pool) === least);
}

/** Replicas of some pools with so many more that `left` are left without the largest zone, or as many as help. */
function filled(
  pools: readonly ZonedPool[],
  start: ReadonlyMap<string, number>,
  fixed: ZoneCounts,
  left: number,
): number {
  const counts = new Map(start);
  const countOf = (id: string): number => counts.get(id) ?? 0;
  for (;;) {
    const byZone = countByZone(pools, countOf, fixed);
    const total = [...byZone.values()].reduce((sum, one) => sum + one, 0);
    if (leftWithoutLargest(byZone) >= left) return total;
    const growable = pools.filter(
      (pool) => !pool.isFrozen && !pool.isShort && countOf(pool.id) < pool.replicasMax,
    );
    const [pool] = poolsForReserve(growable, countOf, byZone);
    if (pool === undefined) return total;
    counts.set(pool.id, countOf(pool.id) + 1);
  }
}

/**
 * How many firm replicas a region needs, those that no pool has included, so that `left` of them are left when the largest zone is
 * lost: as few as the zones allow, and while too few would be left, what there is and what has to come. 0 in a region of one zone,
 * where nothing would be left whatever there is.
 */
export function reserveOf(pools: readonly ZonedPool[], fixed: ZoneCounts, left: number): number {
  if (left <= 0 || !hasOtherZone(pools, fixed)) return 0;
  const startAt = (count: (pool: ZonedPool) => number): ReadonlyMap<string, number> =>
    new Map(pools.map((pool) => [pool.id, pool.isFrozen ? pool.there : count(pool)]));
  const least = startAt(({ replicasMin }) => replicasMin);
  const now = startAt(({ replicasMin, there }) => Math.max(replicasMin, there));
  const isLeft = leftWithoutLargest(countByZone(pools, (id) => now.get(id) ?? 0, fixed)) >= left;
  return Math.max(filled(pools, least, fixed, left), isLeft ? 0 : filled(pools, now, fixed, left));
}
