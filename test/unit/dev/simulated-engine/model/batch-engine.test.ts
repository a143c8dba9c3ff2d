import { describe, it } from "vitest";
import { createBatchEngine, type BatchEngine } from "#dev/simulated-engine/model/batch-engine.ts";
import {
  calibrationContextTokens,
  isProfileName,
  profiles,
} from "#dev/simulated-engine/model/profiles.ts";
import { noiseFactor, seededRandom, stepTimeMs } from "#dev/simulated-engine/model/step-time.ts";

const profile = profiles["h100-8b"];

function anEngine(options: { concurrentMax?: number; kvTokens?: number } = {}): BatchEngine {
  return createBatchEngine({ profile, concurrentMax: 64, kvTokens: 420_000, ...options });
}

/** Keys of a prompt that shares nothing with those of other seeds. */
function keysOf(seed: number): (index: number) => number {
  return (index) => seed * 1_000_000 + index + 1;
}

function submit(
  engine: BatchEngine,
  id: number,
  promptTokens: number,
  outputTokens: number,
  seed = id,
  priority = 0,
) {
  return engine.submit({ id, promptTokens, outputTokens, priority, keyOfBlock: keysOf(seed) });
}

/** Steps until idle; gives what happened. */
function drain(engine: BatchEngine, startMs = 0) {
  let nowMs = startMs;
  const tokens = new Map<number, number>();
  const finishedAtMs = new Map<number, number>();
  const cached = new Map<number, number>();
  const preempted: number[] = [];
  for (let steps = 0; steps < 100_000; steps += 1) {
    const outcome = engine.step(nowMs);
    if (outcome === undefined) return { nowMs, tokens, finishedAtMs, cached, preempted, steps };
    nowMs = outcome.endsAtMs;
    for (const id of outcome.produced) tokens.set(id, (tokens.get(id) ?? 0) + 1);
    for (const id of outcome.finished) finishedAtMs.set(id, nowMs);
    for (const one of outcome.admitted)
      if (!one.isReadmission) cached.set(one.id, one.cachedTokens);
    preempted.push(...outcome.preempted);
  }
  throw new Error("the engine did not become idle");
}

describe("step time", () => {
  it.for(Object.keys(profiles).filter(isProfileName))(
    "reproduces the inter-token times of %s within 10 %%",
    (name, { expect }) => {
      const row = profiles[name];
      for (const [at, sequences] of [1, 32, 64].entries()) {
        const got = stepTimeMs(row, {
          prefillTokens: 0,
          decodeSequences: sequences,
          kvTokensRead: sequences * calibrationContextTokens,
        });
        const wanted = row.itlMs[at] ?? 0;
        expect(Math.abs(got - wanted) / wanted).toBeLessThan(0.1);
      }
    },
  );
  it("takes 59 ms for 2,048 prefill tokens on an H100, as the source measured", ({ expect }) => {
    const got = stepTimeMs(profile, { prefillTokens: 2_048, decodeSequences: 0, kvTokensRead: 0 });
    expect(got).toBeGreaterThan(57);
    expect(got).toBeLessThan(61);
  });
  it("has noise around 1 that its seed repeats", ({ expect }) => {
    const draw = (seed: number) => {
      const random = seededRandom(seed);
      return Array.from({ length: 2_000 }, () => noiseFactor(random));
    };
    const factors = draw(7);
    expect(factors).toEqual(draw(7));
    const mean = factors.reduce((sum, value) => sum + value, 0) / factors.length;
    expect(Math.abs(mean - 1)).toBeLessThan(0.02);
  });
});

describe("batching", () => {
  it("makes each sequence slower and the whole faster", ({ expect }) => {
    const one = anEngine();
    submit(one, 1, 100, 200);
    const alone = drain(one);
    const many = anEngine();
    for (let id = 1; id <= 32; id += 1) submit(many, id, 100, 200);
    const together = drain(many);
    expect(together.nowMs).toBeGreaterThan(alone.nowMs);
    const throughputAlone = 200 / alone.nowMs;
    const throughputTogether = (32 * 200) / together.nowMs;
    expect(throughputTogether).toBeGreaterThan(10 * throughputAlone);
  });
  it("produces exactly the tokens that were asked for and frees everything", ({ expect }) => {
    const engine = anEngine();
    for (let id = 1; id <= 100; id += 1) submit(engine, id, id * 7, id);
    const result = drain(engine);
    for (let id = 1; id <= 100; id += 1) expect(result.tokens.get(id)).toBe(id);
    expect(engine.counters()).toMatchObject({ running: 0, waiting: 0, kvUsage: 0 });
  });
  it("prefills 2,048 tokens a step and goes on decoding beside it", ({ expect }) => {
    const engine = anEngine();
    submit(engine, 1, 10, 50);
    engine.step(0);
    submit(engine, 2, 5_000, 1);
    const steps = [engine.step(10), engine.step(20), engine.step(30)];
    expect(steps.map((step) => step?.prefillTokens)).toEqual([2_048, 2_048, 904]);
    expect(steps.map((step) => step?.decodeSequences)).toEqual([1, 1, 1]);
    expect(steps.map((step) => step?.produced)).toEqual([[1], [1], [1, 2]]);
  });
  it("queues beyond its concurrency and serves in order of priority, then arrival", ({
    expect,
  }) => {
    const engine = anEngine({ concurrentMax: 1 });
    submit(engine, 1, 10, 5);
    engine.step(0);
    submit(engine, 2, 10, 5);
    submit(engine, 3, 10, 5);
    submit(engine, 4, 10, 5, 4, -1);
    expect(engine.counters()).toMatchObject({ running: 1, waiting: 3 });
    const finished = [...drain(engine).finishedAtMs.keys()];
    expect(finished).toEqual([1, 4, 2, 3]);
  });
  it("refuses what could never fit and takes what just fits", ({ expect }) => {
    const engine = anEngine({ kvTokens: 160 });
    expect(submit(engine, 1, 100, 61)).toBe("too-large");
    expect(submit(engine, 2, 100, 60)).toBe("queued");
    expect(submit(engine, 3, 0, 1)).toBe("too-large");
    expect(drain(engine).tokens.get(2)).toBe(60);
  });
  it("does nothing when idle", ({ expect }) => {
    expect(anEngine().step(0)).toBeUndefined();
    expect(anEngine().release(9)).toBe(false);
  });
  it("frees slot and blocks of a sequence that is released while it runs or waits", ({
    expect,
  }) => {
    const engine = anEngine({ concurrentMax: 1 });
    submit(engine, 1, 100, 50);
    submit(engine, 2, 100, 50);
    engine.step(0);
    expect(engine.release(1)).toBe(true);
    expect(engine.counters()).toMatchObject({ running: 0, waiting: 1, kvUsage: 0 });
    expect(engine.release(2)).toBe(true);
    expect(engine.counters()).toMatchObject({ running: 0, waiting: 0 });
    expect(engine.step(1)).toBeUndefined();
  });
  it("replays 20,000 requests in virtual time in seconds", ({ expect }) => {
    const engine = anEngine();
    let nowMs = 0;
    let finished = 0;
    for (let id = 1; id <= 20_000; id += 1)
      submit(engine, id, 100 + (id % 400), 40 + (id % 60), id % 500);
    for (;;) {
      const outcome = engine.step(nowMs);
      if (outcome === undefined) break;
      nowMs = outcome.endsAtMs;
      finished += outcome.finished.length;
    }
    expect(finished).toBe(20_000);
  });
});

describe("prefix cache", () => {
  it("counts the full blocks of a prompt that was there before", ({ expect }) => {
    const engine = anEngine();
    submit(engine, 1, 100, 1, 5);
    drain(engine);
    expect(engine.cachedTokens([keysOf(5)(0), keysOf(5)(1)])).toBe(32);
    submit(engine, 2, 100, 1, 5);
    const result = drain(engine);
    expect(result.cached.get(2)).toBe(96);
    expect(engine.counters()).toMatchObject({ prefixQueries: 200, prefixHits: 96 });
  });
  it("computes at least one token of a prompt that is cached whole", ({ expect }) => {
    const engine = anEngine();
    submit(engine, 1, 64, 1, 5);
    drain(engine);
    submit(engine, 2, 64, 1, 5);
    expect(drain(engine).cached.get(2)).toBe(48);
  });
  it("keeps the answer too, for the next turn", ({ expect }) => {
    const engine = anEngine();
    submit(engine, 1, 32, 65, 5);
    drain(engine);
    submit(engine, 2, 200, 1, 5);
    expect(drain(engine).cached.get(2)).toBe(96);
  });
  it("evicts the least recently used prompt first", ({ expect }) => {
    const engine = anEngine({ kvTokens: 320 });
    for (const seed of [1, 2, 1]) {
      submit(engine, 10, 120, 1, seed);
      drain(engine);
    }
    // 20 blocks: prompts 1 and 2 keep 14 of them, prompt 1 was read last; this one needs 8.
    submit(engine, 11, 127, 1, 3);
    drain(engine);
    const cachedOf = (seed: number) => engine.cachedTokens([0, 1, 2, 3, 4, 5, 6].map(keysOf(seed)));
    expect(cachedOf(1)).toBe(112);
    expect(cachedOf(2)).toBeLessThan(112);
  });
  it("forgets everything when it is cleared", ({ expect }) => {
    const engine = anEngine();
    submit(engine, 1, 100, 1, 5);
    drain(engine);
    engine.clearCache();
    submit(engine, 2, 100, 1, 5);
    expect(drain(engine).cached.get(2)).toBe(0);
  });
});

describe("preemption", () => {
  it("stops the newest when memory runs out, and everybody ends all the same", ({ expect }) => {
    const engine = anEngine({ kvTokens: 16 * 30 });
    for (let id = 1; id <= 4; id += 1) submit(engine, id, 64, 120);
    const result = drain(engine);
    expect(result.preempted.length).toBeGreaterThan(0);
    expect(result.preempted).not.toContain(1);
    expect(engine.counters().preemptions).toBe(result.preempted.length);
    for (let id = 1; id <= 4; id += 1) expect(result.tokens.get(id)).toBe(120);
    expect(engine.counters().kvUsage).toBe(0);
  });
  it("spares what is important", ({ expect }) => {
    const engine = anEngine({ kvTokens: 16 * 20 });
    submit(engine, 1, 64, 120, 1, 5);
    submit(engine, 2, 64, 120, 2, 0);
    const result = drain(engine);
    expect(new Set(result.preempted)).toEqual(new Set([1]));
  });
});
