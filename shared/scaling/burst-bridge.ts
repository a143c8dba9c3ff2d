/** What bridges the minutes until slower replicas start. */
export interface BridgeState {
  readonly replicas: number;
  /** When it was last seen that so many are needed, ms. */
  readonly neededAtMs: number;
}

/** Numbers of the bridge. */
export interface BridgePolicy {
  /** Load that replicas which answer may have before others are asked for that start sooner. */
  readonly loadMax: number;
  /** Within which a backlog must be worked off, seconds. */
  readonly drainSeconds: number;
  /** A bridge stays this long after it was last needed, ms. */
  readonly stayMs: number;
  /** A pool bridges others when its declared start takes at most this share of the longest one. */
  readonly startShareMax: number;
}

/** Our choices, which `npm run simulate -- --days` was run with; the drain is the plan's. */
export const defaultBridgePolicy: BridgePolicy = {
  loadMax: 0.85,
  drainSeconds: 60,
  stayMs: 120_000,
  startShareMax: 0.5,
};

/** Replicas' work that is offered and waits beyond what answers now, replicas; 0 and below: nothing is missing. */
export function lackingNow(
  one: { readonly demand: number; readonly backlogSeconds: number; readonly ready: number },
  { drainSeconds, loadMax }: BridgePolicy,
): number {
  return one.demand / loadMax + one.backlogSeconds / drainSeconds - one.ready;
}

/** The bridge after a look: larger at once, smaller or gone when it was not needed so for a while; null: there is none. */
export function stepBridge(
  before: BridgeState | null,
  lacking: number,
  nowMs: number,
  { stayMs }: BridgePolicy,
): BridgeState | null {
  const isOver = before === null || nowMs - before.neededAtMs > stayMs;
  if (lacking > 0 && (isOver || lacking >= before.replicas))
    return { replicas: lacking, neededAtMs: nowMs };
  return isOver ? null : before;
}

/** A pool that may bridge. */
export interface BridgePool {
  readonly id: string;
  readonly isFirm: boolean;
  readonly coldStartSeconds: number;
  /** Replicas that it could have beyond the plan's. */
  readonly room: number;
}

/**
 * How many replicas of which pools bridge: firm ones that start in half the time of the slowest at most, the quickest first. What
 * was declared says which those are, so that no measurement moves a pool from one kind to the other.
 */
export function placeBridge(
  pools: readonly BridgePool[],
  replicas: number,
  { startShareMax }: BridgePolicy,
): ReadonlyMap<string, number> {
  const slowest = Math.max(0, ...pools.map(({ coldStartSeconds }) => coldStartSeconds));
  const placed = new Map<string, number>();
  let left = Math.ceil(replicas - 1e-9);
  const quick = pools
    .filter(({ coldStartSeconds, isFirm }) => isFirm && coldStartSeconds <= startShareMax * slowest)
    .toSorted((one, other) => one.coldStartSeconds - other.coldStartSeconds);
  for (const { id, room } of quick) {
    const count = Math.min(Math.max(0, left), Math.max(0, room));
    if (count > 0) placed.set(id, count);
    left -= count;
  }
  return placed;
}
