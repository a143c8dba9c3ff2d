import { describe, expect, it } from "vitest";
import { defaultScalePolicy, newScaleState, planModel } from "#shared/scaling/scale-model.ts";
import type { ScaleState } from "#shared/scaling/scale-model.ts";

const planMs = 15_000;
const minuteMs = 60_000;

/** Plans of a model on one firm pool that does at once what it is told, with so much demand a minute. */
function replicasAfter(demands: readonly number[], protectedShare: number): readonly number[] {
  let state: ScaleState = newScaleState(defaultScalePolicy);
  let replicas = 2;
  return demands.map((demand, minute) => {
    for (let nowMs = minute * minuteMs; nowMs < (minute + 1) * minuteMs; nowMs += planMs) {
      const plan = planModel(
        state,
        {
          model: "m",
          demand: {
            measuredAtMs: nowMs,
            isPartial: false,
            rates: { protected: protectedShare * demand, other: (1 - protectedShare) * demand },
            burst: demand,
            backlogSeconds: 0,
            lateShare: null,
          },
          pools: [
            {
              id: "firm",
              purchase: "on-demand",
              pricePerHourMicroUsd: 3_000_000,
              replicasPerInstance: 1,
              replicasMin: 2,
              replicasMax: 100,
              coldStartSeconds: 260,
              zones: ["a"],
              seen: { desired: replicas, ready: replicas },
              isOrdered: true,
              startsMs: [],
            },
          ],
          fixed: {},
        },
        nowMs,
        defaultScalePolicy,
      );
      state = plan.state;
      replicas = plan.pools[0]?.replicas ?? replicas;
    }
    return replicas;
  });
}

describe("the plan of a model on firm pools alone", () => {
  it.each([0.4, 0.9, 1])(
    "gives back after a peak what demand no longer wants (protected %d)",
    (share) => {
      const hours = (count: number, demand: number): readonly number[] =>
        Array.from({ length: 60 * count }, () => demand);
      const got = replicasAfter([...hours(1, 10), ...hours(2, 40), ...hours(12, 10)], share);
      const most = Math.max(...got);
      expect(most).toBeGreaterThanOrEqual(57);
      // 15 at 70 %, and the margin that the forecast learnt from one leap up and down.
      expect(got.at(-1)).toBeLessThan(most / 1.5);
      expect(got.at(-1)).toBeGreaterThanOrEqual(15);
    },
  );
});
