/** An order to a platform: so many replicas of a pool. */
export interface ScaleOrder {
  readonly pool: string;
  readonly replicas: number;
  /** When it was planned, ms. */
  readonly plannedAtMs: number;
  /** Of the lease that it was planned under. */
  readonly token: number;
}

/** How an order went. */
export type ActuationOutcome =
  /** The platform took it. */
  | "applied"
  /** The platform wants fewer calls. */
  | "throttled"
  /** The platform has no more to give. */
  | "quotaRefused"
  /** A sink has seen a later lease. */
  | "fenced"
  /** It failed, or nobody knows. */
  | "failed";

/** What is remembered of a pool's orders. */
export interface ActuationState {
  readonly changedAtMs: number | null;
  /** Calls in a row that did not get through. */
  readonly failures: number;
  readonly failedAtMs: number | null;
  /** Highest token seen. */
  readonly token: number;
}

/** No orders yet. */
export const newActuationState: ActuationState = {
  changedAtMs: null,
  failures: 0,
  failedAtMs: null,
  token: 0,
};

/** Bounds of what may be ordered. */
export interface ActuationPolicy {
  /** Oldest plan that is acted on, ms. */
  readonly planAgeMsMax: number;
  /** Between two changes of one pool, ms. */
  readonly changeMsMin: number;
  /** Wait after a call that did not get through, doubled at each one up to the maximum, ms. */
  readonly backoffMsMin: number;
  readonly backoffMsMax: number;
}

/** Our choices: a plan is a few seconds old when it is acted on; SageMaker's and Modal's control planes take a few calls a second. */
export const defaultActuationPolicy: ActuationPolicy = {
  planAgeMsMax: 30_000,
  changeMsMin: 10_000,
  backoffMsMin: 5_000,
  backoffMsMax: 300_000,
};

/** Why an order is not given. */
export type OrderRefusal =
  /** The platform has been told already. */
  | "same"
  /** No number, or a time that has not come. */
  | "empty"
  | "stale"
  /** Below the pool's minimum or above its maximum. */
  | "outOfBounds"
  /** What the platform has is not known. */
  | "unseen"
  /** A later lease has been seen. */
  | "fenced"
  | "rateLimited"
  | "backingOff";

/** What the pool allows, and what its platform was last told. */
export interface OrderBounds {
  readonly replicasMin: number;
  readonly replicasMax: number;
  /** Replicas that the platform is set to; null: unknown. */
  readonly desired: number | null;
}

/** Null to give the order, else why not. Giving it twice changes nothing; whoever gives it keeps the time by `noteOutcome`. */
export function refuseOrder(
  state: ActuationState,
  order: ScaleOrder,
  { desired, replicasMax, replicasMin }: OrderBounds,
  nowMs: number,
  policy: ActuationPolicy,
): OrderRefusal | null {
  const { plannedAtMs, replicas, token } = order;
  if (!Number.isInteger(replicas) || !Number.isFinite(plannedAtMs)) return "empty";
  if (token < state.token) return "fenced";
  if (nowMs - plannedAtMs > policy.planAgeMsMax || plannedAtMs > nowMs) return "stale";
  if (replicas < replicasMin || replicas > replicasMax) return "outOfBounds";
  if (desired === null) return "unseen";
  if (replicas === desired) return "same";
  if (state.failedAtMs !== null && nowMs - state.failedAtMs < backoffMs(state.failures, policy))
    return "backingOff";
  const isSoon = state.changedAtMs !== null && nowMs - state.changedAtMs < policy.changeMsMin;
  return isSoon ? "rateLimited" : null;
}

function backoffMs(failures: number, { backoffMsMax, backoffMsMin }: ActuationPolicy): number {
  return Math.min(backoffMsMax, backoffMsMin * 2 ** Math.min(20, Math.max(0, failures - 1)));
}

/** The state after an order was given. */
export function noteOutcome(
  state: ActuationState,
  { token }: ScaleOrder,
  outcome: ActuationOutcome,
  nowMs: number,
): ActuationState {
  const seen = { ...state, token: Math.max(state.token, token), changedAtMs: nowMs };
  if (outcome === "applied") return { ...seen, failures: 0, failedAtMs: null };
  return { ...seen, failures: state.failures + 1, failedAtMs: nowMs };
}
