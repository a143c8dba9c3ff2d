import { describe, it } from "vitest";
import { breakerWeight, isAdmitting, stepBreaker, viewAt } from "#shared/breaker/breaker.ts";
import type { BreakerEvent, BreakerReason } from "#shared/breaker/breaker.ts";
import { defaultBreakerPolicy } from "#shared/breaker/breaker-policy.ts";
import { newBreaker, parseBreakerState } from "#shared/breaker/breaker-state.ts";
import type { BreakerState } from "#shared/breaker/breaker-state.ts";

const startMs = 1_800_000_000_000;
const policy = defaultBreakerPolicy;
const middle = (): number => 0.5;

/** Steps a breaker; ends carry the current `trips` unless they name another. */
function drive(from: BreakerState, random = middle) {
  let state = from;
  return {
    get state() {
      return state;
    },
    step(
      kind: BreakerEvent["kind"],
      nowMs: number,
      trips = viewAt(state, nowMs).trips,
    ): BreakerReason {
      const event: BreakerEvent =
        kind === "dispatch" || kind === "alive" ? { kind } : { kind, trips };
      const step = stepBreaker(state, event, nowMs, random, policy);
      state = step.state;
      return step.reason;
    },
  };
}

function opened(random = middle) {
  const breaker = drive(newBreaker(), random);
  for (let index = 0; index < 5; index += 1) breaker.step("failure", startMs);
  return breaker;
}

describe("a closed breaker", () => {
  it("opens at the fifth failure in a row, not at the fourth", ({ expect }) => {
    const breaker = drive(newBreaker());
    const reasons = [1, 2, 3, 4].map(() => breaker.step("failure", startMs));
    expect(reasons).toEqual(["counted", "counted", "counted", "counted"]);
    expect(isAdmitting(breaker.state, startMs)).toBe(true);
    expect(breaker.step("failure", startMs)).toBe("failuresInRow");
    expect(breaker.state).toMatchObject({ kind: "open", trips: 1, untilMs: startMs + 5_000 });
  });

  it("begins the row anew after a success", ({ expect }) => {
    const breaker = drive(newBreaker());
    for (let index = 0; index < 4; index += 1) breaker.step("failure", startMs + index * 11_000);
    breaker.step("success", startMs + 44_000);
    expect(breaker.step("failure", startMs + 55_000)).toBe("counted");
    expect(breaker.state.kind).toBe("closed");
  });

  it("opens at half of ten requests in ten seconds, not of nine", ({ expect }) => {
    const breaker = drive(newBreaker());
    for (let index = 0; index < 4; index += 1) {
      breaker.step("success", startMs + index * 1_000);
      breaker.step("failure", startMs + index * 1_000);
    }
    expect(breaker.step("success", startMs + 5_000)).toBe("counted");
    expect(breaker.step("failure", startMs + 6_000)).toBe("failureRatio");
  });

  it("forgets requests that left the window", ({ expect }) => {
    const breaker = drive(newBreaker());
    for (let index = 0; index < 4; index += 1) {
      breaker.step("success", startMs);
      breaker.step("failure", startMs);
    }
    breaker.step("success", startMs + 10_000);
    expect(breaker.step("failure", startMs + 10_000)).toBe("counted");
  });

  it("never counts what is nobody's fault", ({ expect }) => {
    const breaker = drive(newBreaker());
    for (let index = 0; index < 1_000; index += 1) breaker.step("release", startMs);
    expect(breaker.state).toEqual(newBreaker());
  });

  it("counts in order when the clock goes back", ({ expect }) => {
    const breaker = drive(newBreaker());
    breaker.step("success", startMs);
    breaker.step("success", startMs - 5_000);
    expect(breaker.state).toMatchObject({ buckets: [{ startMs, requests: 2 }] });
  });
});

describe("an open breaker", () => {
  it("admits nothing until its time is over", ({ expect }) => {
    const breaker = opened();
    expect(isAdmitting(breaker.state, startMs + 4_999)).toBe(false);
    expect(breaker.step("dispatch", startMs + 4_999)).toBe("refused");
    expect(breakerWeight(breaker.state, startMs + 4_999, policy)).toBe(0);
    expect(isAdmitting(breaker.state, startMs + 5_000)).toBe(true);
  });

  it("ignores the ends of requests from before", ({ expect }) => {
    const breaker = opened();
    expect(breaker.step("success", startMs + 100, 0)).toBe("late");
    expect(breaker.step("failure", startMs + 100, 0)).toBe("late");
    expect(breaker.state).toMatchObject({ kind: "open", untilMs: startMs + 5_000 });
  });

  it.for<[number, number]>([
    [0, 4_000],
    [0.5, 5_000],
    [0.999999, 6_000],
  ])("with chance %d stays open %i ms", ([chance, openMs], { expect }) => {
    expect(opened(() => chance).state).toMatchObject({ untilMs: startMs + openMs });
  });

  it("doubles its time with each failed probe, up to two minutes", ({ expect }) => {
    const breaker = opened();
    const times: number[] = [];
    for (let round = 0; round < 7; round += 1) {
      const nowMs = breaker.state.kind === "open" ? breaker.state.untilMs : 0;
      breaker.step("dispatch", nowMs);
      expect(breaker.step("failure", nowMs)).toBe("probeFailed");
      if (breaker.state.kind === "open") times.push(breaker.state.untilMs - nowMs);
    }
    expect(times).toEqual([10_000, 20_000, 40_000, 80_000, 120_000, 120_000, 120_000]);
  });
});

describe("a sign of life", () => {
  /** Open for 20 s at 15 s past the start, after two failed probes. */
  function openForLong() {
    const breaker = opened();
    for (const nowMs of [startMs + 5_000, startMs + 15_000]) {
      breaker.step("dispatch", nowMs);
      breaker.step("failure", nowMs);
    }
    return breaker;
  }

  it("ends an opening after the time of a first one", ({ expect }) => {
    const breaker = openForLong();
    const openedMs = startMs + 15_000;
    expect(breaker.state).toMatchObject({ kind: "open", untilMs: openedMs + 20_000 });
    expect(breaker.step("alive", openedMs + 4_999)).toBe("counted");
    expect(isAdmitting(breaker.state, openedMs + 4_999)).toBe(false);
    expect(breaker.step("alive", openedMs + 5_000)).toBe("alive");
    expect(isAdmitting(breaker.state, openedMs + 5_000)).toBe(true);
    expect(breaker.state).toMatchObject({ kind: "halfOpen", wasShortened: true });
  });

  it("is not believed twice in a row, whether the shard failed half open or soon after", ({
    expect,
  }) => {
    for (const successes of [0, 5]) {
      const breaker = openForLong();
      const backMs = startMs + 25_000;
      breaker.step("alive", backMs);
      for (let count = 0; count < successes; count += 1) {
        breaker.step("dispatch", backMs);
        breaker.step("success", backMs);
      }
      breaker.step("dispatch", backMs);
      for (let count = 0; count < 5; count += 1) breaker.step("failure", backMs + 1_000);
      expect(breaker.state).toMatchObject({ kind: "open", shortestUntilMs: null });
      const { state } = breaker;
      const untilMs = state.kind === "open" ? state.untilMs : 0;
      expect(untilMs - backMs).toBeGreaterThan(30_000);
      expect(breaker.step("alive", untilMs - 1)).toBe("counted");
      expect(isAdmitting(breaker.state, untilMs - 1)).toBe(false);
      // Served in full, so that the one after it may be cut short again.
      breaker.step("dispatch", untilMs);
      breaker.step("failure", untilMs);
      expect(breaker.step("alive", untilMs + 5_000)).toBe("alive");
    }
  });

  it("says nothing of a closed or a half-open breaker", ({ expect }) => {
    const breaker = drive(newBreaker());
    expect(breaker.step("alive", startMs)).toBe("counted");
    expect(breaker.state).toEqual(newBreaker());
    const half = opened();
    half.step("dispatch", startMs + 5_000);
    half.step("alive", startMs + 5_001);
    expect(half.state).toMatchObject({ kind: "halfOpen", leased: 1, wasShortened: false });
  });

  it("is believed again once the shard has been well for long", ({ expect }) => {
    const breaker = openForLong();
    const backMs = startMs + 25_000;
    breaker.step("alive", backMs);
    for (let count = 0; count < 5; count += 1) {
      breaker.step("dispatch", backMs);
      breaker.step("success", backMs);
    }
    breaker.step("success", backMs + policy.openMsMax);
    expect(breaker.state).toMatchObject({ kind: "closed", openingsInRow: 0, wasShortened: false });
  });
});

describe("a half-open breaker", () => {
  const halfMs = startMs + 5_000;

  it("lets 1, then 2, then 4 probes through at once, and closes after five successes", ({
    expect,
  }) => {
    const breaker = opened();
    const admitted = (): number => {
      let count = 0;
      while (isAdmitting(breaker.state, halfMs)) {
        breaker.step("dispatch", halfMs);
        count += 1;
      }
      return count;
    };
    expect(admitted()).toBe(1);
    expect(breaker.step("dispatch", halfMs)).toBe("refused");
    expect(breaker.step("success", halfMs)).toBe("probing");
    expect(admitted()).toBe(2);
    breaker.step("success", halfMs);
    breaker.step("success", halfMs);
    expect(admitted()).toBe(4);
    expect(breaker.step("success", halfMs)).toBe("probing");
    expect(breaker.step("success", halfMs)).toBe("recovered");
    expect(breaker.state).toMatchObject({ kind: "closed", closedAtMs: halfMs, buckets: [] });
  });

  it("does not take old requests for probes", ({ expect }) => {
    const breaker = opened();
    for (let index = 0; index < 20; index += 1) {
      expect(breaker.step("success", halfMs, 0)).toBe("late");
      expect(breaker.step("failure", halfMs, 0)).toBe("late");
    }
    expect(breaker.state).toMatchObject({ kind: "halfOpen", successes: 0 });
  });

  it("gives a released probe's place to another", ({ expect }) => {
    const breaker = opened();
    breaker.step("dispatch", halfMs);
    expect(isAdmitting(breaker.state, halfMs)).toBe(false);
    breaker.step("release", halfMs);
    expect(isAdmitting(breaker.state, halfMs)).toBe(true);
  });

  it("forgets a probe whose end never comes", ({ expect }) => {
    const breaker = opened();
    breaker.step("dispatch", halfMs);
    expect(isAdmitting(breaker.state, halfMs + policy.probeMsMax - 1)).toBe(false);
    expect(isAdmitting(breaker.state, halfMs + policy.probeMsMax)).toBe(true);
  });
});

describe("a breaker that has closed", () => {
  const closedAtMs = startMs + 5_000;

  function recovered() {
    const breaker = opened();
    for (let index = 0; index < 5; index += 1) {
      breaker.step("dispatch", closedAtMs);
      breaker.step("success", closedAtMs);
    }
    return breaker;
  }

  it("raises the weight from a tenth to all within a minute", ({ expect }) => {
    const { state } = recovered();
    const weights = [-1, 0, 30_000, 60_000, 600_000].map((ms) =>
      breakerWeight(state, closedAtMs + ms, policy),
    );
    expect(weights.map((weight) => Math.round(weight * 100))).toEqual([10, 10, 55, 100, 100]);
    expect(breakerWeight(state, closedAtMs, { ...policy, slowStartMs: 0 })).toBe(1);
    expect(breakerWeight(newBreaker(), 0, policy)).toBe(1);
  });

  it("opens for longer when it opens again soon, and for the first time's length when not", ({
    expect,
  }) => {
    const openFor = (quietMs: number): number => {
      const breaker = recovered();
      const nowMs = closedAtMs + quietMs;
      breaker.step("success", nowMs);
      for (let index = 0; index < 5; index += 1) breaker.step("failure", nowMs);
      return breaker.state.kind === "open" ? breaker.state.untilMs - nowMs : 0;
    };
    expect(openFor(1_000)).toBe(10_000);
    expect(openFor(120_000)).toBe(5_000);
  });
});

describe("parseBreakerState", () => {
  it("takes every state after a round through JSON", ({ expect }) => {
    const open = opened().state;
    const states = [newBreaker(), open, viewAt(open, startMs + 5_000)];
    expect(states.map((state) => state.kind)).toEqual(["closed", "open", "halfOpen"]);
    for (const state of states) {
      expect(parseBreakerState(JSON.parse(JSON.stringify(state)))).toEqual(state);
    }
  });

  it.for<[string, unknown]>([
    ["null", null],
    ["a list", []],
    ["another version", { ...newBreaker(), v: 2 }],
    ["an unknown kind", { ...newBreaker(), kind: "ajar" }],
    ["negative trips", { ...newBreaker(), trips: -1 }],
    ["no buckets", { ...newBreaker(), buckets: undefined }],
    [
      "more failures than requests",
      { ...newBreaker(), buckets: [{ startMs: 0, requests: 1, failures: 2 }] },
    ],
    ["a bucket that is none", { ...newBreaker(), buckets: [3] }],
    [
      "too many buckets",
      {
        ...newBreaker(),
        buckets: Array.from({ length: 11 }, () => ({ startMs: 0, requests: 0, failures: 0 })),
      },
    ],
    ["open without an end", { kind: "open", v: 1, trips: 1, openingsInRow: 1 }],
    [
      "half open without leases",
      { kind: "halfOpen", v: 1, trips: 1, openingsInRow: 1, successes: 0 },
    ],
  ])("refuses %s", ([, value], { expect }) => {
    expect(parseBreakerState(value)).toBeNull();
  });
});
