import type { PoolDescription } from "#shared/config/scaling.ts";
import {
  defaultActuationPolicy,
  newActuationState,
  noteOutcome,
  refuseOrder,
} from "#shared/scaling/actuation.ts";
import type {
  ActuationOutcome,
  ActuationState,
  OrderRefusal,
  ScaleOrder,
} from "#shared/scaling/actuation.ts";
import type { PoolObservation } from "#shared/scaling/pool-supply.ts";
import type { Platform } from "../ports/platform.ts";

/** Longest call of a platform's control plane, ms. */
export const platformCallMs = 5_000;

/** What became of an order. */
export type OrderResult = ActuationOutcome | OrderRefusal | "planOnly" | "leaseEnding";

/** An order with all that is checked before it is given. */
export interface Ordered {
  readonly pool: PoolDescription;
  readonly order: ScaleOrder;
  readonly seen: PoolObservation | null;
  /** How long it may be acted on, ms; 0: the lease is over. */
  readonly leftMs: number;
}

/** Gives orders to a platform, as often and as far as they may be given. */
export interface OrderGiver {
  give(ordered: Ordered): Promise<OrderResult>;
}

/** Null in place of a platform: orders are judged and not given. */
export function createOrderGiver(
  platformOf: (pool: PoolDescription) => Platform | null,
  nowMs: () => number,
): OrderGiver {
  const states = new Map<string, ActuationState>();
  return {
    async give({ leftMs, order, pool, seen }) {
      const state = states.get(pool.id) ?? newActuationState;
      const { replicasMax, replicasMin } = pool;
      const bounds = { replicasMin, replicasMax, desired: seen?.desired ?? null };
      const refusal = refuseOrder(state, order, bounds, nowMs(), defaultActuationPolicy);
      if (refusal !== null) return refusal;
      const platform = platformOf(pool);
      if (platform === null) return "planOnly";
      // A call that could still be on its way when another leader begins is not made.
      if (leftMs < platformCallMs) return "leaseEnding";
      const signal = AbortSignal.timeout(platformCallMs);
      const outcome = await platform.apply(pool, order.replicas, order.token, signal);
      states.set(pool.id, noteOutcome(state, order, outcome, nowMs()));
      return outcome;
    },
  };
}
