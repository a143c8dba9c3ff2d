import type { TurnRequest } from "../protocol/internal/turn-request.ts";
import type { TurnConditions } from "./turn-conditions.ts";
import type { TurnPolicy } from "./turn-policy.ts";
import type { HedgeState, TryState, TurnState } from "./turn-state.ts";

/** What of a turn's state says how late it is. */
export interface LateTurn extends Pick<TurnState, "isBegun" | "triesInVain" | "continuations"> {
  readonly hedge: Pick<HedgeState, "kind">;
  readonly try: Pick<
    TryState,
    "dispatchedAtMs" | "firstAtMs" | "lastAtMs" | "pieces" | "plan" | "hasDelivered"
  >;
}

/** What lateness is judged by besides the state. */
export interface LateContext {
  readonly request: Pick<TurnRequest, "hop" | "deadlineMs">;
  readonly nowMs: number;
  readonly policy: TurnPolicy;
  readonly conditions: TurnConditions;
}

/** What every step is given besides state and event. */
export interface TurnContext extends LateContext {
  readonly request: TurnRequest;
}

/** Shards that are tried of a turn that another cell has passed on: docs/decisions/0013-one-retry-after-a-hop.md. */
const triesAfterHopMax = 2;

/**
 * Whether another shard may be tried before the first token: one that the budget pays for and that is predicted to end before
 * the deadline. What another cell has passed on is tried once more and no oftener, as two cells would multiply their tries.
 */
export function mayRetry(state: LateTurn, { conditions, nowMs, request }: LateContext): boolean {
  const endMs = state.try.plan?.endMs ?? 0;
  if (request.hop > 0 && state.triesInVain >= triesAfterHopMax) return false;
  return conditions.mayRetry && request.deadlineMs - nowMs > endMs;
}

/** How long a retry waits, ms. */
export function retryDelayMs({
  conditions,
  policy,
}: Pick<LateContext, "conditions" | "policy">): number {
  const { retryMsMax, retryMsMin } = policy;
  return Math.round(retryMsMin + (retryMsMax - retryMsMin) * conditions.random());
}

/** Whether another shard could go on with the answer as it is. */
export function canContinue(state: LateTurn, policy: TurnPolicy): boolean {
  const continuations = state.continuations + (state.try.hasDelivered ? 1 : 0);
  return continuations <= policy.continuationsMax && state.triesInVain < policy.triesMax;
}

/**
 * Whether the first token is late: for the plan where somebody else can be asked, else for the longest that is waited. A shard
 * that is slower than was predicted and the only one there is gives its answer late, which is better than none.
 */
export function isLate(state: LateTurn, context: LateContext): boolean {
  const { conditions, nowMs, policy } = context;
  const waitedMs = nowMs - state.try.dispatchedAtMs;
  if (waitedMs >= policy.firstTokenTimeoutMs) return true;
  const planned = state.try.plan?.firstTokenTimeoutMs ?? policy.firstTokenTimeoutMs;
  if (waitedMs < planned) return false;
  if (state.hedge.kind === "running") return true;
  const mayTry = state.triesInVain < policy.triesMax && (state.isBegun || mayRetry(state, context));
  return mayTry && (conditions.elsewhere.hasRoom || conditions.elsewhere.hasNeighbour);
}

/**
 * Whether the answer is so far behind its prediction that another shard should go on with it. One that has room now: where
 * all are slow, an answer that crawls is not given up.
 */
export function isOverdue(state: LateTurn, { conditions, nowMs, policy }: LateContext): boolean {
  const { dispatchedAtMs, pieces, plan } = state.try;
  if (plan === null || plan.overdueMs === null || pieces >= plan.overdueTokens) return false;
  if (nowMs - dispatchedAtMs < plan.overdueMs || !canContinue(state, policy)) return false;
  return conditions.elsewhere.hasRoom;
}

/** Silence after which a begun answer has stalled, ms. */
export function stallMs(state: LateTurn, policy: TurnPolicy): number {
  const { firstAtMs, lastAtMs, pieces } = state.try;
  if (firstAtMs === null || pieces < 2) return policy.stallMinMs;
  const meanMs = (lastAtMs - firstAtMs) / (pieces - 1);
  return Math.max(policy.stallMinMs, policy.stallFactor * meanMs);
}
