import type { FleetOffer, FleetRegion } from "#dev/capacity/elastic-fleet.ts";
import { coldStartQuantile, drawColdStart } from "#shared/scaling/fleet-cold-start.ts";
import type { PurchaseOffer } from "#shared/scaling/fleet-purchase.ts";

/** A replica that is held: paid from the moment it was asked for. */
interface Replica {
  readonly askedAtMs: number;
  readonly readyAtMs: number;
}

/** From when to when a replica answered; `untilMs` is Infinity for one that still does. */
export interface Lifetime {
  readonly offer: string;
  readonly askedAtMs: number;
  readonly readyAtMs: number;
  readonly untilMs: number;
}

interface Pool {
  readonly offer: FleetOffer;
  readonly unitsPerReplica: number;
  /** What one replica really does; the plan knows an estimate. */
  readonly requestsPerSecond: number;
  readonly replicas: Replica[];
  readonly coldStartSeconds: number;
  /** Spot: whether the provider has any, and until when that stays. */
  isThere: boolean;
  changesAtMs: number;
}

/** What is held of an offer now. */
export interface Held {
  readonly replicas: number;
  readonly ready: number;
}

/** An offer as a scaler sees it. */
export interface MarketOffer extends PurchaseOffer {
  /** What the contract allows, whether the provider has any or not. */
  readonly quota: number;
  /** P95. */
  readonly coldStartSeconds: number;
}

/** Replicas of one region in virtual time: asked for, starting, ready, given back, called back; and what they cost. */
export interface Market {
  /** Offers as a scaler sees them: a spot pool that was called back has no quota. */
  offers(): readonly MarketOffer[];
  held(nowMs: number): ReadonlyMap<string, Held>;
  /** Requests per second of the ready replicas. */
  capacity(nowMs: number): number;
  /** Asks for replicas, or gives the newest back, so that there are so many of each offer. */
  set(wanted: Readonly<Record<string, number>>, nowMs: number): void;
  /** Makes all that start ready at once: how a run begins. */
  settle(nowMs: number): void;
  /** Lets the time pass: spot pools go and come, and what is held is paid. */
  pass(nowMs: number, stepMs: number): void;
  readonly paid: { usd: number; replicaSeconds: number; unitSeconds: number; reclaims: number };
  lifetimes(): readonly Lifetime[];
}

/** Makes an empty market. */
export function createMarket(
  region: FleetRegion,
  offers: readonly {
    readonly offer: FleetOffer;
    readonly unitsPerReplica: number;
    readonly requestsPerSecond: number;
  }[],
  random: () => number,
): Market {
  const hourMs = 3_600_000;
  const exponential = (meanHours: number): number => -Math.log(1 - random()) * meanHours * hourMs;
  const pools: readonly Pool[] = offers.map((one) => ({
    ...one,
    replicas: [],
    coldStartSeconds: coldStartQuantile(one.offer.coldStart, 0.95),
    isThere: true,
    changesAtMs: one.offer.reclaim === null ? Infinity : exponential(one.offer.reclaim.upHoursMean),
  }));
  /** Replicas lie in the order in which they get ready. */
  const readyOf = ({ replicas }: Pool, nowMs: number): number => {
    let ready = replicas.length;
    while (ready > 0 && (replicas[ready - 1]?.readyAtMs ?? 0) > nowMs) ready -= 1;
    return ready;
  };
  const ended: Lifetime[] = [];
  const paid = { usd: 0, replicaSeconds: 0, unitSeconds: 0, reclaims: 0 };
  const end = (pool: Pool, replica: Replica, nowMs: number): void => {
    ended.push({ offer: pool.offer.name, ...replica, untilMs: nowMs });
  };
  const reclaim = (pool: Pool, nowMs: number): void => {
    const { reclaim: times } = pool.offer;
    if (times === null) return;
    while (nowMs >= pool.changesAtMs) {
      pool.isThere = !pool.isThere;
      pool.changesAtMs += exponential(pool.isThere ? times.upHoursMean : times.downHoursMean);
      if (pool.isThere) continue;
      paid.reclaims += pool.replicas.length;
      for (const replica of pool.replicas) end(pool, replica, nowMs);
      pool.replicas.length = 0;
    }
  };
  return {
    paid,
    offers: () =>
      pools.map(({ coldStartSeconds, isThere, offer, unitsPerReplica }) => ({
        name: offer.name,
        kind: offer.kind,
        usdPerHour: offer.usdPerHour * region.priceFactor,
        unitsPerReplica,
        replicasMax: isThere ? offer.replicasMax : 0,
        quota: offer.replicasMax,
        coldStartSeconds,
      })),
    held: (nowMs) =>
      new Map(
        pools.map((pool) => [
          pool.offer.name,
          { replicas: pool.replicas.length, ready: readyOf(pool, nowMs) },
        ]),
      ),
    capacity: (nowMs) =>
      pools.reduce((sum, pool) => sum + pool.requestsPerSecond * readyOf(pool, nowMs), 0),
    set(wanted, nowMs) {
      for (const pool of pools) {
        const { coldStart, name, replicasMax } = pool.offer;
        const target = Math.min(pool.isThere ? replicasMax : 0, wanted[name] ?? 0);
        while (pool.replicas.length < target) {
          const readyAtMs = nowMs + 1_000 * drawColdStart(coldStart, random);
          pool.replicas.push({ askedAtMs: nowMs, readyAtMs });
        }
        // Those that need longest go first: what answers is kept.
        pool.replicas.sort((left, right) => left.readyAtMs - right.readyAtMs);
        for (const replica of pool.replicas.splice(Math.max(0, target))) end(pool, replica, nowMs);
      }
    },
    settle(nowMs) {
      for (const { replicas } of pools)
        replicas.splice(
          0,
          replicas.length,
          ...replicas.map((one) => ({ ...one, readyAtMs: nowMs })),
        );
    },
    pass(nowMs, stepMs) {
      for (const pool of pools) {
        reclaim(pool, nowMs);
        const seconds = (pool.replicas.length * stepMs) / 1_000;
        paid.replicaSeconds += seconds;
        paid.unitSeconds += seconds * pool.unitsPerReplica;
        paid.usd += (seconds * pool.offer.usdPerHour * region.priceFactor) / 3_600;
      }
    },
    lifetimes: () => [
      ...ended,
      ...pools.flatMap(({ offer, replicas }) =>
        replicas.map((replica) => ({ offer: offer.name, ...replica, untilMs: Infinity })),
      ),
    ],
  };
}
