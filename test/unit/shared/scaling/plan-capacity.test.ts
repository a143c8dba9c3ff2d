import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { newPlanState, planCapacity } from "#shared/scaling/plan-capacity.ts";
import type { Plan, PlanInput, PlanState } from "#shared/scaling/plan-capacity.ts";
import { defaultPlanPolicy } from "#shared/scaling/plan-policy.ts";

const policy = { ...defaultPlanPolicy, replicasMin: 2, replicasMax: 20 };
const minuteMs = 60_000;

function anInput(nowMs: number, fields: Partial<PlanInput>): PlanInput {
  return {
    measuredAtMs: nowMs,
    replicas: 4,
    demand: 0,
    demandNow: 0,
    backlogSeconds: 0,
    backlogGrowth: 0,
    ...fields,
  };
}

/** A plan a minute, each carried out at once. */
function planned(
  minutes: number,
  demandAt: (minute: number) => Partial<PlanInput>,
  from: { readonly replicas: number; readonly state?: PlanState; readonly minute?: number },
): Plan[] {
  const plans: Plan[] = [];
  let { replicas, state = newPlanState } = from;
  const first = from.minute ?? 0;
  for (let minute = first; minute < first + minutes; minute += 1) {
    const nowMs = minute * minuteMs;
    const plan = planCapacity(
      state,
      anInput(nowMs, { replicas, ...demandAt(minute) }),
      nowMs,
      policy,
    );
    plans.push(plan);
    ({ replicas, state } = plan);
  }
  return plans;
}

describe("a capacity plan", () => {
  it("has room for the noise of small loads and for the use of large ones", () => {
    const wanted = (demand: number) =>
      planCapacity(newPlanState, anInput(0, { demand }), 0, policy).wanted;
    expect(wanted(0)).toBe(0);
    // 1 + 1.5·√1 = 2.5; 100 / 0.7 = 142.9.
    expect(wanted(1)).toBe(3);
    expect(wanted(100)).toBe(143);
  });

  it("grows at once, at most to twice what there was within the time to a first answer", () => {
    const plans = planned(6, () => ({ demand: 12, demandNow: 1 }), { replicas: 4 });
    expect(plans.map(({ replicas }) => replicas)).toStrictEqual([8, 8, 8, 8, 8, 16]);
    expect(plans[0]?.reason).toBe("demandRises");
  });

  it("counts what waits and how fast it grows", () => {
    const waiting = planCapacity(newPlanState, anInput(0, { backlogSeconds: 121 }), 0, policy);
    expect(waiting.wanted).toBe(3);
    const growing = planCapacity(
      newPlanState,
      anInput(0, { demand: 1, backlogGrowth: 0.5 }),
      0,
      policy,
    );
    // 290 s at 0.5 are 145 replica-seconds to be there: three replicas for a minute.
    expect(growing).toMatchObject({ wanted: 6, replicas: 6, reason: "backlog" });
  });

  it("keeps what the loss of a zone wants, within the steps of everything else, and says so", () => {
    const at = (fields: Partial<PlanInput>) =>
      planCapacity(newPlanState, anInput(0, { demand: 1, ...fields }), 0, policy);
    expect(at({ reserve: 6 })).toMatchObject({ wanted: 6, replicas: 6, reason: "zoneReserve" });
    expect(at({ reserve: 9 })).toMatchObject({ wanted: 9, replicas: 8, reason: "zoneReserve" });
    expect(at({ reserve: 4 })).toMatchObject({ replicas: 4, reason: "zoneReserve" });
    expect(at({ reserve: 3, demand: 3 })).toMatchObject({ replicas: 6, reason: "demandRises" });
    expect(at({ reserve: 99, replicas: 20 })).toMatchObject({ replicas: 20, reason: "atMaximum" });
    const plans = planned(40, () => ({ demand: 1, reserve: 5 }), { replicas: 9 });
    expect(plans.at(-1)).toMatchObject({ replicas: 5, reason: "zoneReserve" });
  });

  it("holds for five minutes what load made grow, and not what a bound or a zone did", () => {
    const grown = (fields: Partial<PlanInput>) =>
      planCapacity(newPlanState, anInput(9, { replicas: 1, ...fields }), 9, policy);
    expect(grown({})).toMatchObject({ reason: "atMinimum", state: { grewAtMs: null } });
    expect(grown({ reserve: 3 })).toMatchObject({
      reason: "zoneReserve",
      state: { grewAtMs: null, growth: { sinceMs: 9, fromReplicas: 1 } },
    });
    expect(grown({ demand: 2 })).toMatchObject({ reason: "demandRises", state: { grewAtMs: 9 } });
  });

  it("doubles in a panic, once, and keeps it", () => {
    const plans = planned(3, () => ({ demand: 1, demandNow: 40 }), { replicas: 4 });
    expect(plans.map(({ replicas }) => replicas)).toStrictEqual([8, 16, 20]);
    expect(plans.map(({ reason }) => reason)).toStrictEqual(["panic", "panic", "panic"]);
    const calm = planCapacity(
      plans[0]?.state ?? newPlanState,
      anInput(30_000, { replicas: 8, demand: 1, demandNow: 40 }),
      30_000,
      policy,
    );
    expect(calm).toMatchObject({ replicas: 8, reason: "held" });
  });

  it("falls by steps, a minute apart, after ten minutes without more, and five without growth", () => {
    const high = planned(1, () => ({ demand: 8 }), { replicas: 7 });
    const { replicas, state } = high[0] as Plan;
    expect(replicas).toBe(13);
    const low = planned(30, () => ({ demand: 1 }), { replicas, state, minute: 1 });
    const counts = low.map((plan) => plan.replicas);
    expect(counts.slice(0, 8)).toStrictEqual([13, 13, 13, 13, 13, 13, 13, 13]);
    const firstStep = counts.findIndex((count) => count < 13);
    expect(firstStep).toBeGreaterThanOrEqual(9);
    for (let at = 1; at < counts.length; at += 1) {
      expect((counts[at - 1] ?? 0) - (counts[at] ?? 0)).toBeLessThanOrEqual(1);
    }
    expect(counts.at(-1)).toBe(3);
  });

  it("does not follow a load that swings", () => {
    const plans = planned(120, (minute) => ({ demand: minute % 6 < 3 ? 8 : 2 }), { replicas: 13 });
    expect(new Set(plans.slice(10).map(({ replicas }) => replicas))).toStrictEqual(new Set([13]));
  });

  it("never goes below its minimum, nor above its maximum", () => {
    const none = planned(60, () => ({ demand: 0 }), { replicas: 5 });
    expect(none.at(-1)).toMatchObject({ replicas: 2 });
    expect(none.some(({ reason }) => reason === "atMinimum")).toBe(true);
    const much = planned(30, () => ({ demand: 1_000, demandNow: 1 }), { replicas: 5 });
    expect(much.at(-1)).toMatchObject({ replicas: 20, reason: "atMaximum" });
  });

  it.each<readonly [string, Partial<PlanInput>]>([
    ["is missing", { measuredAtMs: null }],
    ["is old", { measuredAtMs: -120_001 }],
    ["has a demand that is no number", { demand: Number.NaN }],
    ["has a backlog without end", { backlogSeconds: Number.POSITIVE_INFINITY }],
  ])("leaves things as they are when its input %s", (_what, fields) => {
    const plan = planCapacity(newPlanState, anInput(0, { replicas: 7, ...fields }), 0, policy);
    expect(plan).toMatchObject({ replicas: 7, reason: "inputMissing", state: newPlanState });
  });

  it("stays in its bounds whatever it is told", () => {
    const number = fc.oneof(fc.double(), fc.integer({ min: -5, max: 100 }));
    const step = fc.record({
      demand: number,
      demandNow: number,
      backlogSeconds: number,
      backlogGrowth: number,
      sinceMs: fc.integer({ min: 0, max: 700_000 }),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
        let state = newPlanState;
        let replicas = 4;
        let nowMs = 0;
        for (const { sinceMs, ...fields } of steps) {
          nowMs += sinceMs;
          const plan = planCapacity(state, anInput(nowMs, { replicas, ...fields }), nowMs, policy);
          expect(plan.replicas).toBeGreaterThanOrEqual(2);
          expect(plan.replicas).toBeLessThanOrEqual(20);
          expect(plan.replicas).toBeLessThanOrEqual(2 * replicas);
          ({ replicas, state } = plan);
        }
      }),
    );
  });
});
