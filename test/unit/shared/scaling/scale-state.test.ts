import { describe, expect, it } from "vitest";
import { formatReport, parseReport, sumReports } from "#shared/scaling/demand-report.ts";
import type { DemandReport } from "#shared/scaling/demand-report.ts";
import { defaultScalePolicy, newScaleState, planModel } from "#shared/scaling/scale-model.ts";
import { formatScaleState, parseScaleState } from "#shared/scaling/scale-state.ts";

const stepMs = 600_000;
const policy = defaultScalePolicy;

function aUsedState(nowMs: number) {
  const pool = {
    id: "od",
    purchase: "on-demand" as const,
    pricePerHourMicroUsd: 1,
    replicasPerInstance: 1,
    replicasMin: 1,
    replicasMax: 9,
    coldStartSeconds: 60,
    zones: ["a"],
    seen: { desired: 2, ready: 2 },
    isOrdered: true,
    startsMs: [],
  };
  const demand = {
    measuredAtMs: nowMs,
    isPartial: false,
    rates: { protected: 3, other: 1 },
    burst: 4,
    backlogSeconds: 2,
    lateShare: null,
  };
  const input = { model: "m", demand, pools: [pool], fixed: {} };
  return planModel(newScaleState(policy), input, nowMs, policy).state;
}

describe("what a leader leaves to the next one", () => {
  it("comes back as it was when the clocks agree", () => {
    const state = aUsedState(5_000_000);
    const text = formatScaleState(state, 5_000_000);
    expect(parseScaleState(text, { ageMs: 0, nowMs: 5_000_000, stepMs })).toStrictEqual(state);
  });

  it("has its times moved by what the clocks differ, as the age tells", () => {
    const state = aUsedState(5_000_000);
    const text = formatScaleState(state, 5_000_000);
    const hourMs = 3_600_000;
    const moved = parseScaleState(text, { ageMs: 10_000, nowMs: 5_010_000 + hourMs, stepMs });
    expect(moved?.total.grewAtMs).toBe((state.total.grewAtMs ?? 0) + hourMs);
    expect(moved?.pools["od"]?.askedAtMs).toBe(5_000_000 + hourMs);
    expect(moved?.pools["od"]?.asks[0]?.atMs).toBe(5_000_000 + hourMs);
    expect(moved?.demand.step?.index).toBe((state.demand.step?.index ?? 0) + 6);
  });

  it("says what bridges, and since when, as the age tells", () => {
    const bridge = { replicas: 2.5, neededAtMs: 4_990_000, byPool: { od: 3 } };
    const text = formatScaleState({ ...aUsedState(5_000_000), bridge }, 5_000_000);
    const read = parseScaleState(text, { ageMs: 10_000, nowMs: 8_010_000, stepMs });
    expect(read?.bridge).toStrictEqual({ ...bridge, neededAtMs: 7_990_000 });
  });

  it("is read without starts, as a leader of an older version kept it", () => {
    const state = aUsedState(5_000_000);
    const kept = JSON.parse(formatScaleState(state, 5_000_000)) as {
      scale: Record<string, unknown> & { pools: Record<string, Record<string, unknown>> };
    };
    for (const pool of Object.values(kept.scale.pools)) {
      delete pool["startsMs"];
      delete pool["asks"];
    }
    delete kept.scale["bridge"];
    const read = parseScaleState(JSON.stringify(kept), { ageMs: 0, nowMs: 5_000_000, stepMs });
    expect(read?.pools["od"]).toMatchObject({ startsMs: [], asks: [] });
    expect(read?.bridge).toBeNull();
  });

  it.each(["", "null", "{}", '{"v":2}', '{"v":1,"savedAtMs":0,"scale":{"v":1}}'])(
    "is nothing when it is no state: %s",
    (text) => {
      expect(parseScaleState(text, { ageMs: 0, nowMs: 0, stepMs })).toBeNull();
    },
  );
});

const report: DemandReport = {
  v: 1,
  protected: 1,
  other: 2,
  burst: 3,
  backlogSeconds: 4,
  firstTokens: 10,
  lateTokens: 1,
  readyShards: ["c/s"],
  starts: [{ shard: "c/s", ms: [20_000, 31_000.5] }],
};

describe("what cells tell of their demand", () => {
  it("is read as it was written, and as nothing when it is no report", () => {
    expect(parseReport(formatReport(report))).toStrictEqual(report);
    for (const text of ["", "{}", JSON.stringify({ ...report, protected: -1 })])
      expect(parseReport(text)).toBeNull();
    for (const ms of [[-1], ["1"], Array.from({ length: 33 }, () => 1)])
      expect(parseReport(JSON.stringify({ ...report, starts: [{ shard: "c/s", ms }] }))).toBeNull();
  });

  it("is read without starts, as a cell of an older version tells it", () => {
    const { starts: _, ...older } = report;
    expect(parseReport(JSON.stringify(older))).toStrictEqual({ ...report, starts: [] });
  });

  it("adds up, and is as old as the oldest", () => {
    const reports = new Map([
      ["a", { report, ageMs: 1_000 }],
      ["b", { report, ageMs: 9_000 }],
    ]);
    const sum = sumReports(["a", "b"], reports, { ageMsMax: 10_000, nowMs: 50_000 });
    expect(sum).toStrictEqual({
      measuredAtMs: 41_000,
      isPartial: false,
      rates: { protected: 2, other: 4 },
      burst: 6,
      backlogSeconds: 8,
      lateShare: 0.1,
    });
  });

  it("is partial without one of the cells, and nothing without all; others do not count", () => {
    const of = (ages: Record<string, number>) =>
      sumReports(
        ["a", "b"],
        new Map(Object.entries(ages).map(([cell, ageMs]) => [cell, { report, ageMs }])),
        { ageMsMax: 10_000, nowMs: 0 },
      );
    expect(of({ a: 0 })).toMatchObject({ isPartial: true, rates: { protected: 1 } });
    expect(of({ a: 0, b: 10_001 })).toMatchObject({ isPartial: true });
    expect(of({ a: 10_001, b: 10_001 })).toBeNull();
    expect(of({ gone: 0 })).toBeNull();
  });

  it("says nothing of lateness before twenty first tokens", () => {
    const reports = new Map([["a", { report, ageMs: 0 }]]);
    expect(sumReports(["a"], reports, { ageMsMax: 1, nowMs: 0 })?.lateShare).toBeNull();
  });
});
