import { describe, expect, it } from "vitest";
import { unknownDesired } from "#shared/scaling/pool-supply.ts";
import { aPool, Region } from "./region.ts";

describe("a platform that a deploy of the app sets back, and that tells nothing of it", () => {
  it("is told again what it was told, and nothing is planned for what it gave meanwhile", async () => {
    const pool = aPool({ platform: "modal", replicasMin: 2 });
    const region = new Region([pool], { od: 4 });
    let toldAtMs = Number.NEGATIVE_INFINITY;
    region.platform.answer = () => {
      toldAtMs = region.nowMs;
      return "carryOut";
    };
    // What was told counts for five minutes, as of the actuator of Modal.
    region.platform.report = (_, { desired, ready }) => ({
      desired: region.nowMs - toldAtMs < 300_000 ? desired : unknownDesired,
      ready,
    });
    region.load = () => ({ protected: 2 });
    await region.run(15);
    const planned = region.lastPlan()?.replicas;
    expect(region.desired("od")).toBe(planned);

    await region.platform.apply(pool, 1, 0);
    toldAtMs = region.nowMs - 60_000;
    expect(region.desired("od")).toBe(1);
    await region.run(10);
    expect(region.desired("od")).toBe(planned);
    expect(region.ready("od")).toBe(planned);
    expect(region.platform.orders.length).toBeLessThan(10);
    const plans = region.plans.map(({ replicas }) => replicas);
    expect(Math.max(...plans)).toBeLessThanOrEqual(2 * (planned ?? 0));
  });
});
