import { describe, expect, it } from "vitest";
import {
  defaultActuationPolicy,
  newActuationState,
  noteOutcome,
  refuseOrder,
} from "#shared/scaling/actuation.ts";
import type { ActuationState, OrderBounds, ScaleOrder } from "#shared/scaling/actuation.ts";

const nowMs = 1_000_000;
const order: ScaleOrder = { pool: "p", replicas: 4, plannedAtMs: nowMs - 1_000, token: 3 };
const bounds: OrderBounds = { replicasMin: 1, replicasMax: 8, desired: 2 };

function refusal(
  changes: Partial<ScaleOrder & OrderBounds> = {},
  state: ActuationState = newActuationState,
  atMs = nowMs,
) {
  const { desired = bounds.desired, replicasMax = 8, replicasMin = 1, ...fields } = changes;
  return refuseOrder(
    state,
    { ...order, ...fields },
    { desired, replicasMax, replicasMin },
    atMs,
    defaultActuationPolicy,
  );
}

describe("an order to a platform", () => {
  it("is given when nothing speaks against it", () => {
    expect(refusal()).toBeNull();
  });

  it("is not given twice", () => {
    expect(refusal({ desired: 4 })).toBe("same");
  });

  it.each([NaN, Infinity, 1.5])("that is no number of replicas (%f) is empty", (replicas) => {
    expect(refusal({ replicas })).toBe("empty");
    expect(refusal({ plannedAtMs: NaN })).toBe("empty");
  });

  it("is stale after half a minute, and before its time", () => {
    expect(refusal({ plannedAtMs: nowMs - 30_000 })).toBeNull();
    expect(refusal({ plannedAtMs: nowMs - 30_001 })).toBe("stale");
    expect(refusal({ plannedAtMs: nowMs + 1 })).toBe("stale");
  });

  it("stays within the bounds of its pool, zero and negative ones included", () => {
    expect(refusal({ replicas: 8 })).toBeNull();
    expect(refusal({ replicas: 9 })).toBe("outOfBounds");
    expect(refusal({ replicas: 1 })).toBeNull();
    expect(refusal({ replicas: 0 })).toBe("outOfBounds");
    expect(refusal({ replicas: -1, replicasMin: 0 })).toBe("outOfBounds");
  });

  it("is not given where nobody knows what there is", () => {
    const unseen = { replicasMin: 1, replicasMax: 8, desired: null };
    expect(refuseOrder(newActuationState, order, unseen, nowMs, defaultActuationPolicy)).toBe(
      "unseen",
    );
  });

  it("of an earlier lease is refused", () => {
    const state = noteOutcome(newActuationState, { ...order, token: 4 }, "applied", 0);
    expect(refusal({}, state)).toBe("fenced");
    expect(refusal({ token: 4 }, state)).toBeNull();
  });

  it("waits ten seconds after another one", () => {
    const state = noteOutcome(newActuationState, order, "applied", nowMs);
    const later = { plannedAtMs: nowMs };
    expect(refusal(later, state, nowMs + 9_999)).toBe("rateLimited");
    expect(refusal(later, state, nowMs + 10_000)).toBeNull();
  });

  it("waits longer after each failure, up to five minutes, and no longer after a success", () => {
    let state = newActuationState;
    const waits: number[] = [];
    for (let failure = 0; failure < 9; failure += 1) {
      state = noteOutcome(state, order, "throttled", nowMs);
      let waitMs = 0;
      while (refusal({ plannedAtMs: nowMs + waitMs }, state, nowMs + waitMs) !== null)
        waitMs += 5_000;
      waits.push(waitMs);
    }
    expect(waits).toStrictEqual([
      10_000, 10_000, 20_000, 40_000, 80_000, 160_000, 300_000, 300_000, 300_000,
    ]);
    state = noteOutcome(state, order, "applied", nowMs);
    expect(refusal({ plannedAtMs: nowMs }, state, nowMs + 10_000)).toBeNull();
  });
});
