import { join } from "node:path";
import { describe, test } from "vitest";
import { faultTimes } from "./faults.ts";
import type { FaultName } from "./faults.ts";
import { readFleet } from "./fleet.ts";
import { measure } from "./measure.ts";
import type { RunReport } from "./measure.ts";
import { ablations, policies } from "./policies/catalogue.ts";
import { replay } from "./replay.ts";
import { readTrace } from "#dev/capacity/request-trace.ts";
import { calmLoad, floodTenant, makeWorkload } from "./workload.ts";
import type { WorkloadInput } from "./workload.ts";

const fixtures = join(import.meta.dirname, "fixtures");
const { shards: fleet } = readFleet(join(fixtures, "even.json"));
const mix = [15, 25, 40, 20];

interface Run {
  readonly trace: string;
  readonly policy: string;
  readonly load?: number;
  readonly mix?: readonly number[] | null;
  readonly fault?: FaultName;
  readonly floodMix?: readonly number[];
}

function workloadOf(change: Partial<WorkloadInput> & { readonly file: string }) {
  const { file, ...rest } = change;
  return makeWorkload({
    trace: readTrace(join(fixtures, file)),
    part: "whole",
    fleet,
    seed: 1,
    load: 0.8,
    mix: null,
    floodMix: null,
    ...rest,
  });
}

function run({
  fault: name,
  floodMix,
  load = 0.8,
  mix: shares = null,
  policy,
  trace,
}: Run): RunReport {
  const arrivals = workloadOf({
    file: trace,
    load,
    mix: shares,
    floodMix: name === "tenant-flood" ? (floodMix ?? shares) : null,
  });
  const spanMs = arrivals.at(-1)?.atMs ?? 0;
  const fault = name === undefined ? null : { name, ...faultTimes(name, spanMs) };
  const entry = policies[policy] ?? ablations[policy];
  if (entry === undefined) throw new Error(`no policy ${policy}`);
  const hasAdmission = shares !== null;
  const result = replay({ arrivals, fleet, policy: entry, seed: 1, hasAdmission, fault });
  expectEnded(result.records);
  return measure({ policy, seed: 1, arrivals, fleet, result, fault });
}

/** Whatever happens, each request has one end and no time runs backwards. */
function expectEnded(records: ReturnType<typeof replay>["records"]): void {
  for (const { arrivedAtMs, endedAtMs, firstAtMs, outcome } of records) {
    if (outcome === "pending") throw new Error("a request has no end");
    if (endedAtMs < arrivedAtMs) throw new Error("a request ended before it came");
    if (outcome === "done" && (firstAtMs < arrivedAtMs || endedAtMs < firstAtMs))
      throw new Error("a first token outside of its answer");
  }
}

describe("a workload", () => {
  test("offers as much of what the fleet can do as the load says", ({ expect }) => {
    const spanOf = (load: number): number =>
      workloadOf({ file: "plain.csv", load }).at(-1)?.atMs ?? 0;
    expect(spanOf(0.4) / spanOf(0.8)).toBeCloseTo(2, 6);
    // Three times the work of a stretch in the time of one at load 1.
    expect(spanOf(3) / spanOf(1)).toBeCloseTo(1, 1);
    expect(workloadOf({ file: "plain.csv", load: 3 })).toHaveLength(
      3 * workloadOf({ file: "plain.csv", load: 1 }).length,
    );
  });

  test("has halves that share nothing", ({ expect }) => {
    for (const file of ["plain.csv", "sessions.csv"]) {
      const requestsOf = (part: "first" | "second") =>
        new Set(workloadOf({ file, part }).map(({ request }) => request));
      const trace = readTrace(join(fixtures, file));
      const [first, second] = (["first", "second"] as const).map((part) =>
        makeWorkload({ trace, part, fleet, seed: 1, load: null, mix: null, floodMix: null }),
      );
      expect(requestsOf("first").size).toBeGreaterThan(0);
      const taken = new Set(first?.map(({ request }) => JSON.stringify(request)));
      for (const { request } of second ?? [])
        expect(taken.has(JSON.stringify(request))).toBe(false);
    }
  });

  test("draws classes by session and in the shares of the mix", ({ expect }) => {
    const arrivals = workloadOf({ file: "sessions.csv", mix });
    const classes = new Map<number, Set<string>>();
    for (const { priority, request } of arrivals)
      classes.set(request.session, (classes.get(request.session) ?? new Set()).add(priority));
    for (const names of classes.values()) expect(names.size).toBe(1);
    const plain = workloadOf({ file: "plain.csv", mix: [0, 0, 1, 0] });
    expect(new Set(plain.map(({ priority }) => priority))).toStrictEqual(new Set(["standard"]));
  });

  test("lets a session's next request wait for the last one and its thinking", ({ expect }) => {
    const arrivals = workloadOf({ file: "sessions.csv", load: null });
    const waiting = arrivals.filter(({ after }) => after >= 0);
    expect(waiting.length).toBeGreaterThan(arrivals.length / 2);
    for (const { after, request } of waiting)
      expect(arrivals[after]?.request.session).toBe(request.session);
  });
});

describe("a flood", () => {
  test("is what one tenant sends beyond a calm load, for the middle third, in its own mix", ({
    expect,
  }) => {
    const arrivals = workloadOf({ file: "plain.csv", load: 3, mix, floodMix: [1, 0, 0, 0] });
    const all = workloadOf({ file: "plain.csv", load: 3, mix });
    const endMs = all.at(-1)?.atMs ?? 0;
    const flood = arrivals.filter(({ tenant }) => tenant === floodTenant);
    expect(new Set(flood.map(({ priority }) => priority))).toStrictEqual(new Set(["critical"]));
    for (const { atMs } of flood) {
      expect(atMs).toBeGreaterThanOrEqual(endMs / 3);
      expect(atMs).toBeLessThan((2 * endMs) / 3);
    }
    const calm = calmLoad / 3;
    expect(Math.abs(flood.length - ((1 - calm) / 3) * all.length)).toBeLessThan(0.05 * all.length);
    const others = arrivals.length - flood.length;
    expect(Math.abs(others - calm * all.length)).toBeLessThan(0.05 * all.length);
  });

  test("keeps the order of sessions that it thins out", ({ expect }) => {
    const arrivals = workloadOf({ file: "sessions.csv", load: 3, mix, floodMix: mix });
    expect(arrivals.some(({ after }) => after >= 0)).toBe(true);
    for (const [index, { after, request }] of arrivals.entries()) {
      if (after < 0) continue;
      expect(after).toBeLessThan(index);
      expect(arrivals[after]?.request.session).toBe(request.session);
    }
  });
});

describe("a replay", () => {
  test("shows that ours beats round robin where prompts share prefixes", ({ expect }) => {
    const ours = run({ trace: "blocks.csv", policy: "meridian" });
    const theirs = run({ trace: "blocks.csv", policy: "round-robin" });
    expect(ours.ttftSeconds.p99).toBeLessThan(0.7 * theirs.ttftSeconds.p99);
    expect(ours.cachedTokens).toBeGreaterThan(1.5 * theirs.cachedTokens);
    expect(ours.rePrefilledTokens).toBeLessThan(theirs.rePrefilledTokens);
    expect(ours.goodputPerSecond).toBeGreaterThan(theirs.goodputPerSecond);
    expect(ours.costPerMillionGoodTokensUsd).toBeLessThan(theirs.costPerMillionGoodTokensUsd);
  });

  test("shows what the cache term is for", ({ expect }) => {
    const ours = run({ trace: "sessions.csv", policy: "meridian" });
    const blind = run({ trace: "sessions.csv", policy: "meridian-no-cache" });
    expect(blind.cachedTokens).toBeLessThan(0.9 * ours.cachedTokens);
  });

  test("shows what old counters do: prompts herd", ({ expect }) => {
    const fresh = run({ trace: "blocks.csv", policy: "meridian" });
    const old = run({ trace: "blocks.csv", policy: "meridian-stale-30" });
    expect(old.ttftSeconds.p95).toBeGreaterThan(2 * fresh.ttftSeconds.p95);
  });

  test("sheds the lower classes first when too much comes", ({ expect }) => {
    const { classes, shed } = run({ trace: "blocks.csv", policy: "meridian", load: 4, mix });
    expect(shed).toBeGreaterThan(0);
    expect(classes.critical.successRatio).toBeGreaterThan(classes.standard.successRatio);
    expect(classes.critical.ttftSeconds.p95).toBeLessThan(classes.batch.ttftSeconds.p95);
  });

  test("answers every request although a third of the shards is lost", ({ expect }) => {
    const { failed, recovery } = run({
      trace: "blocks.csv",
      policy: "meridian",
      load: 0.3,
      mix,
      fault: "lose-third",
    });
    expect(failed).toBe(0);
    expect(recovery?.detectionSeconds).not.toBeNull();
  });

  test("keeps away from a shard that fails at once, and takes it back after", ({ expect }) => {
    const { recovery } = run({
      trace: "blocks.csv",
      policy: "meridian",
      load: 0.3,
      mix,
      fault: "fail-fast",
    });
    expect(recovery?.interactiveErrorRatioAfterDetection).toBe(0);
    expect(recovery?.recoverySeconds).not.toBeNull();
  });

  test("is slower for those on a slow shard, and only while it lasts", ({ expect }) => {
    const calm = run({ trace: "blocks.csv", policy: "round-robin", load: 0.3, mix });
    const slow = run({
      trace: "plain.csv",
      policy: "round-robin",
      load: 0.3,
      mix,
      fault: "slow-shard",
    });
    expect(slow.itlSeconds.p99).toBeGreaterThan(1.5 * calm.itlSeconds.p99);
    expect(slow.recovery?.goodRatioDuring).toBeLessThanOrEqual(slow.recovery?.goodRatioBefore ?? 0);
  });

  test("measures the others while one tenant floods", ({ expect }) => {
    const flood = run({
      trace: "plain.csv",
      policy: "meridian",
      load: 3,
      mix,
      fault: "tenant-flood",
    });
    expect(flood.othersGoodRatioInFlood).toBeGreaterThan(0);
    expect(flood.recovery).toBeNull();
    expect(run({ trace: "plain.csv", policy: "meridian" }).othersGoodRatioInFlood).toBeNull();
  });
});

describe("a replay with shards that come and go", () => {
  test("sends nothing to a shard before it is ready, nor after it left, and loses nothing", ({
    expect,
  }) => {
    const policy = policies["meridian"];
    if (policy === undefined) throw new Error("no policy meridian");
    const arrivals = workloadOf({ file: "plain.csv", load: 0.1, mix });
    const endMs = arrivals.at(-1)?.atMs ?? 0;
    const [readyAtMs, untilMs] = [0.3 * endMs, 0.7 * endMs];
    const { records } = replay({
      arrivals,
      fleet: fleet.slice(0, 2),
      policy,
      seed: 1,
      hasAdmission: true,
      fault: null,
      lifetimes: [
        { readyAtMs, untilMs: Infinity },
        { readyAtMs: 2 * endMs, untilMs: Infinity },
      ],
    });
    expectEnded(records);
    const done = records.filter(({ outcome }) => outcome === "done");
    expect(done.length).toBeGreaterThan(records.length / 2);
    for (const { firstAtMs } of done) expect(firstAtMs).toBeGreaterThan(readyAtMs);
    const left = replay({
      arrivals,
      fleet: fleet.slice(0, 1),
      policy,
      seed: 1,
      hasAdmission: true,
      fault: null,
      lifetimes: [{ readyAtMs: 0, untilMs }],
    });
    expectEnded(left.records);
    for (const { arrivedAtMs, outcome } of left.records)
      if (arrivedAtMs > untilMs) expect(outcome).toBe("shed");
    expect(left.records.filter(({ outcome }) => outcome === "done").length).toBeGreaterThan(0);
  });
});
