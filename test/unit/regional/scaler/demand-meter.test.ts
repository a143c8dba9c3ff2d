import { describe, expect, it } from "vitest";
import { createDemandMeter } from "#regional/scaler/demand-meter.ts";
import type { DemandMeter } from "#regional/scaler/demand-meter.ts";
import type { Priority } from "#shared/config/topology.ts";
import { HandClock } from "#test/support/hand-clock.ts";

const model = "sim/llama";
// 1,000 prompt tokens a second; an answer token takes 0.01 s of one that may run one request.
const replica = {
  speed: {
    prefillTokensPerSecond: 1_000,
    stepFloorSeconds: 0.009,
    sequenceSeconds: 0.001,
    kvTokenSeconds: 0,
  },
  concurrentRequestsMax: 1,
  itlSloSeconds: 0.1,
};

type Offered = Parameters<DemandMeter["arrived"]>[0];

function aTurn(fields: Partial<Offered> = {}): Offered {
  return {
    attempt: 1,
    hop: 0,
    resume: null,
    priority: "interactive",
    engine: {
      path: "chat/completions",
      model,
      body: {},
      promptTokensEstimate: 1_000,
      completionTokensMax: 100,
    },
    ...fields,
  };
}

function aMeter(waiting: ReadonlyMap<Priority, number> = new Map()) {
  const clock = new HandClock();
  const meter = createDemandMeter({
    models: [model],
    replicaOf: () => replica,
    waitingOf: () => waiting,
    readyOf: () => ["c/llama-0"],
    startsOf: () => [{ shard: "c/llama-0", ms: [20_000] }],
    clock,
  });
  const report = () => meter.reports()[0]?.report;
  return { clock, meter, report };
}

function used(promptTokens: number, cachedTokens: number, completionTokens: number) {
  return {
    shard: "c/llama-0" as never,
    usage: { promptTokens, cachedTokens, completionTokens, reasoningTokens: 0 },
  };
}

describe("what a cell is offered", () => {
  it("is the work of a turn by its prompt and answer, spread over a minute", () => {
    const { meter, report } = aMeter();
    meter.arrived(aTurn());
    // 1,000 / 1,000 + 100 · 0.01 = 2 s in 60.
    expect(report()).toMatchObject({ protected: 2 / 60, other: 0, burst: 2 / 6 });
  });

  it("counts a turn once, at its first-choice cell", () => {
    const { meter, report } = aMeter();
    meter.arrived(aTurn({ hop: 1 }));
    meter.arrived(aTurn({ attempt: 2 }));
    meter.arrived(aTurn({ resume: { frames: "x", toSeq: 1, surplusTokens: 0, continuations: 1 } }));
    expect(report()).toMatchObject({ protected: 0, burst: 0 });
  });

  it("tells what may wait apart from what may not", () => {
    const { meter, report } = aMeter();
    for (const priority of ["critical", "interactive", "standard", "batch"] as const)
      meter.arrived(aTurn({ priority }));
    expect(report()).toMatchObject({ protected: 4 / 60, other: 4 / 60 });
  });

  it("learns from answers what a turn takes, cached tokens left out", () => {
    const { meter, report } = aMeter();
    meter.ended(aTurn(), used(1_000, 900, 10));
    meter.arrived(aTurn());
    // 100 / 1,000 + 10 · 0.01 = 0.2 s.
    expect(report()?.protected).toBeCloseTo(0.2 / 60);
  });

  it("learns nothing from a turn that no shard worked on", () => {
    const { meter, report } = aMeter();
    meter.ended(aTurn(), { ...used(0, 0, 0), shard: null });
    meter.ended(aTurn(), used(0, 0, 0));
    meter.arrived(aTurn());
    expect(report()?.protected).toBeCloseTo(2 / 60);
  });

  it("forgets after a minute, and burst work after six seconds", () => {
    const { clock, meter, report } = aMeter();
    meter.arrived(aTurn());
    clock.move(6_000);
    expect(report()?.burst).toBe(0);
    clock.move(53_000);
    expect(report()?.protected).toBeCloseTo(2 / 60);
    clock.move(1_000);
    expect(report()?.protected).toBe(0);
  });

  it("counts late first tokens of what may not wait", () => {
    const { meter, report } = aMeter();
    meter.firstToken(aTurn(), 2_000);
    meter.firstToken(aTurn(), 2_001);
    meter.firstToken(aTurn({ priority: "batch" }), 60_000);
    expect(report()).toMatchObject({ firstTokens: 2, lateTokens: 1 });
  });

  it("turns what waits into work", () => {
    const { meter, report } = aMeter(new Map([["interactive", 3]]));
    expect(report()?.backlogSeconds).toBe(0);
    meter.ended(aTurn(), used(1_000, 0, 0));
    expect(report()?.backlogSeconds).toBe(3);
  });

  it("knows nothing of a model that the cell does not have", () => {
    const { meter, report } = aMeter();
    const other = aTurn();
    meter.arrived({ ...other, engine: { ...other.engine, model: "sim/none" } });
    expect(report()).toMatchObject({ protected: 0 });
    expect(meter.offered()).toStrictEqual([]);
  });
});
