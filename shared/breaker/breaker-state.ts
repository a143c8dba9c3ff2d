/** Requests that ended within one tenth of the window. */
export interface BreakerBucket {
  readonly startMs: number;
  readonly requests: number;
  readonly failures: number;
}

/**
 * What is kept of a breaker: plain JSON. `trips` counts all openings and fences outcomes: a request that was dispatched
 * before the last opening says nothing about the shard after it. `openingsInRow` decides how long the next one is.
 */
export type BreakerState =
  | {
      readonly kind: "closed";
      readonly v: 1;
      readonly trips: number;
      readonly openingsInRow: number;
      readonly failuresInRow: number;
      /** Oldest first, at most {@link bucketsMax}. */
      readonly buckets: readonly BreakerBucket[];
      /** Start of the slow start, ms; null when it has always been closed. */
      readonly closedAtMs: number | null;
      /** Whether the last opening was cut short by a sign of life. */
      readonly wasShortened: boolean;
    }
  | {
      readonly kind: "open";
      readonly v: 1;
      readonly trips: number;
      readonly openingsInRow: number;
      readonly untilMs: number;
      /** From when on a sign of life ends it, ms; null: it lasts its whole time, because the last one was cut short in vain. */
      readonly shortestUntilMs: number | null;
    }
  | {
      readonly kind: "halfOpen";
      readonly v: 1;
      readonly trips: number;
      readonly openingsInRow: number;
      /** Probes under way. */
      readonly leased: number;
      readonly successes: number;
      /** When the probes under way count as lost, ms. */
      readonly leasesEndMs: number;
      readonly wasShortened: boolean;
    };

/** Parts that a window is divided into; its edge is exact to one of them. */
export const bucketsMax = 10;

/** A breaker that lets traffic flow and knows nothing yet. */
export function newBreaker(): BreakerState {
  return {
    kind: "closed",
    v: 1,
    trips: 0,
    openingsInRow: 0,
    failuresInRow: 0,
    buckets: [],
    closedAtMs: null,
    wasShortened: false,
  };
}

function isCount(value: unknown): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0;
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isBucket(value: unknown): value is BreakerBucket {
  if (!isRecord(value)) return false;
  const { startMs, requests, failures } = value;
  return isCount(startMs) && isCount(requests) && isCount(failures) && failures <= requests;
}

/** The stored state, or null when `value` is none of this version: then the caller begins with {@link newBreaker}. */
export function parseBreakerState(value: unknown): BreakerState | null {
  if (!isRecord(value) || value["v"] !== 1) return null;
  const { kind, trips, openingsInRow } = value;
  if (!isCount(trips) || !isCount(openingsInRow)) return null;
  const shared = { v: 1, trips, openingsInRow } as const;
  switch (kind) {
    case "closed": {
      const { failuresInRow, buckets, closedAtMs, wasShortened } = value;
      if (!isCount(failuresInRow) || (closedAtMs !== null && !isCount(closedAtMs))) return null;
      if (typeof wasShortened !== "boolean") return null;
      if (!Array.isArray(buckets) || buckets.length > bucketsMax || !buckets.every(isBucket))
        return null;
      return { kind, ...shared, failuresInRow, buckets, closedAtMs, wasShortened };
    }
    case "open": {
      const { untilMs, shortestUntilMs } = value;
      if (!isCount(untilMs) || (shortestUntilMs !== null && !isCount(shortestUntilMs))) return null;
      return { kind, ...shared, untilMs, shortestUntilMs };
    }
    case "halfOpen": {
      const { leased, successes, leasesEndMs, wasShortened } = value;
      if (!isCount(leased) || !isCount(successes) || !isCount(leasesEndMs)) return null;
      if (typeof wasShortened !== "boolean") return null;
      return { kind, ...shared, leased, successes, leasesEndMs, wasShortened };
    }
    default:
      return null;
  }
}
