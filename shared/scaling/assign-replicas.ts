import { countByZone, leftWithoutLargest, poolsForReserve } from "./zone-reserve.ts";
import type { ZoneCounts, ZonedPool } from "./zone-reserve.ts";

/** One pool as the split between pools sees it. */
export interface AssignablePool extends ZonedPool {
  /** Reserved or on-demand: it is not taken away. */
  readonly isFirm: boolean;
  /** Of one more instance, micro-dollars an hour; null: unknown. */
  readonly priceMicroUsd: number | null;
  readonly replicasPerInstance: number;
}

/** How many replicas there shall be, and of which kind. */
export interface Wanted {
  /** In all pools. */
  readonly total: number;
  /** At least so many that are not taken away, for critical and interactive work. */
  readonly firm: number;
  /** Firm replicas that shall be left when the largest zone is lost, those that no pool has included. */
  readonly left: number;
  /** Replicas that no pool has: firm, and always there. */
  readonly fixed: ZoneCounts;
  /** Whether the plan lets replicas go now. */
  readonly mayShrink: boolean;
}

/** Numbers of the split. */
export interface AssignPolicy {
  /** Largest share of all replicas in one spot pool. */
  readonly spotShareMax: number;
  /** Spot pools from which on spot counts. */
  readonly spotPoolsMin: number;
}

/** At most 40 % in one spot pool, and spot over three pools at least: one that is reclaimed takes no more (routing rules for scaling). */
export const defaultAssignPolicy: AssignPolicy = { spotShareMax: 0.4, spotPoolsMin: 3 };

/** Whether there are spot pools enough for work to count on them; how many there are does not change when one is called back. */
export function isSpotCounted(
  pools: readonly Pick<AssignablePool, "isFirm" | "replicasMax">[],
  { spotPoolsMin }: AssignPolicy = defaultAssignPolicy,
): boolean {
  return pools.filter((pool) => !pool.isFirm && pool.replicasMax > 0).length >= spotPoolsMin;
}

/** How many replicas each pool shall have. */
export interface Assignment {
  readonly counts: ReadonlyMap<string, number>;
  /** Wanted, and no pool may have them. */
  readonly unplaced: number;
  /** The choice between pools needed a price that is not known: nothing was chosen. */
  readonly isPriceMissing: boolean;
}

/** Micro-dollars an hour of one more replica: nothing while an instance that is paid for has room (copies before instances). */
function priceOfNext(
  { priceMicroUsd, replicasPerInstance }: AssignablePool,
  count: number,
): number | null {
  if (count % replicasPerInstance !== 0) return 0;
  return priceMicroUsd;
}

/** Micro-dollars an hour that the last replica costs: all of its instance's when it is alone there. */
function priceOfLast(pool: AssignablePool, count: number): number | null {
  return priceOfNext(pool, Math.max(0, count - 1));
}

/** The first with the least price; null without one, `unknown` when there is a choice and a price is missing. */
function cheapest(
  candidates: readonly AssignablePool[],
  priceOf: (pool: AssignablePool) => number | null,
): AssignablePool | "unknown" | null {
  const [first] = candidates;
  if (first === undefined || candidates.length === 1) return first ?? null;
  let best = first;
  let bestPrice = Infinity;
  for (const pool of candidates) {
    const price = priceOf(pool);
    if (price === null) return "unknown";
    if (price < bestPrice) {
      best = pool;
      bestPrice = price;
    }
  }
  return best;
}

/**
 * Splits a plan over the pools of a model: minima first, then firm replicas for what must not wait, those first that are left when
 * the largest zone is lost, then the cheapest that may have more; no spot beyond its minimum while there are too few spot pools; fewer from the dearest first, and only where the plan lets replicas go. Nothing moves between pools for its price
 * alone. Where the cheapest cannot be told, because a price is missing, what is there stays.
 */
export function assignReplicas(
  pools: readonly AssignablePool[],
  wanted: Wanted,
  policy: AssignPolicy = defaultAssignPolicy,
): Assignment {
  const counts = new Map<string, number>();
  let isPriceMissing = false;
  const countOf = (pool: AssignablePool): number => counts.get(pool.id) ?? 0;
  const sum = (of: readonly AssignablePool[]): number =>
    of.reduce((all, pool) => all + countOf(pool), 0);
  const spotMax = isSpotCounted(pools, policy) ? Math.ceil(policy.spotShareMax * wanted.total) : 0;
  const firmPools = pools.filter(({ isFirm }) => isFirm);

  for (const pool of pools) {
    const { isFrozen, replicasMax, replicasMin, there } = pool;
    const count = isFrozen ? there : Math.max(replicasMin, there);
    // What is above the maximum goes down as slowly as everything else.
    counts.set(pool.id, wanted.mayShrink && !isFrozen ? Math.min(replicasMax, count) : count);
  }

  function mayGrow(pool: AssignablePool): boolean {
    const count = countOf(pool);
    if (pool.isFrozen || count >= pool.replicasMax) return false;
    return pool.isFirm || count < spotMax;
  }

  function byZone(): ReadonlyMap<string, number> {
    return countByZone(firmPools, (id) => counts.get(id) ?? 0, wanted.fixed);
  }

  /** One more of the cheapest; false where there is none, or it cannot be told. */
  function growOne(able: readonly AssignablePool[]): boolean {
    const willing = able.filter(({ isShort }) => !isShort);
    const pool = cheapest(willing.length > 0 ? willing : able, (one) =>
      priceOfNext(one, countOf(one)),
    );
    if (pool === "unknown") isPriceMissing = true;
    if (pool === null || pool === "unknown") return false;
    counts.set(pool.id, countOf(pool) + 1);
    return true;
  }

  function grow(of: readonly AssignablePool[], upTo: number): void {
    while (sum(of) < upTo && growOne(of.filter(mayGrow)));
  }

  function spread(): void {
    while (sum(firmPools) < wanted.firm && leftWithoutLargest(byZone()) < wanted.left) {
      const growable = firmPools.filter((pool) => mayGrow(pool) && !pool.isShort);
      if (!growOne(poolsForReserve(growable, (id) => counts.get(id) ?? 0, byZone()))) return;
    }
  }

  /** Whether enough firm replicas are left without the largest zone after this one went, or no fewer than before. */
  function isLeftWithout(pool: AssignablePool): boolean {
    const before = leftWithoutLargest(byZone());
    const without = (id: string): number => (counts.get(id) ?? 0) - (id === pool.id ? 1 : 0);
    const after = leftWithoutLargest(countByZone(firmPools, without, wanted.fixed));
    return after >= Math.min(wanted.left, before);
  }

  function mayLose(pool: AssignablePool): boolean {
    if (pool.isFrozen || countOf(pool) <= pool.replicasMin) return false;
    return !pool.isFirm || (sum(firmPools) > wanted.firm && isLeftWithout(pool));
  }

  function shrink(): void {
    while (sum(pools) > wanted.total) {
      const pool = cheapest(pools.filter(mayLose), (one) => {
        const price = priceOfLast(one, countOf(one));
        return price === null ? null : -price;
      });
      if (pool === "unknown") isPriceMissing = true;
      if (pool === null || pool === "unknown") return;
      counts.set(pool.id, countOf(pool) - 1);
    }
  }

  spread();
  grow(firmPools, wanted.firm);
  grow(pools, wanted.total);
  if (wanted.mayShrink) shrink();
  return { counts, unplaced: Math.max(0, wanted.total - sum(pools)), isPriceMissing };
}
