import { describe, test } from "vitest";
import { createBatchEngine } from "#dev/simulated-engine/model/batch-engine.ts";
import { profiles } from "#dev/simulated-engine/model/profiles.ts";
import type { EngineProfile } from "#dev/simulated-engine/model/profiles.ts";
import { seededRandom } from "#dev/simulated-engine/model/step-time.ts";
import { createStepEngine } from "./step-engine.ts";
import type { RunOutcome, StepEngine } from "./step-engine.ts";

/** Numbers that can be added in the head: a step of x new and b decoding tokens takes max(10, (x+b)/100) + b + K/1000 + 2 ms. */
const profile: EngineProfile = {
  ...profiles["cpu-test"],
  weightReadMs: 10,
  computeMsPerToken: 0.01,
  hostMsPerSequence: 1,
  kvReadMsPerToken: 0.001,
  hostMs: 2,
  kvTokens: 100_000,
};

interface Seen {
  readonly atMs: number;
  readonly outcome: RunOutcome;
}

/** Runs until the engine is idle. */
function drain(engine: StepEngine): readonly Seen[] {
  const seen: Seen[] = [];
  while (engine.endsAtMs() < Infinity) {
    const atMs = engine.endsAtMs();
    seen.push({ atMs, outcome: engine.finishRun() });
  }
  return seen;
}

function timeOf(seen: readonly Seen[], what: "started" | "finished", id: number): number {
  return seen.find(({ outcome }) => outcome[what].includes(id))?.atMs ?? -1;
}

function anEngine(change: Partial<EngineProfile> = {}, concurrentMax = 8): StepEngine {
  return createStepEngine({
    profile: { ...profile, ...change },
    concurrentMax,
    noise: () => 1,
  });
}

function aPrompt(
  id: number,
  promptTokens: number,
  outputTokens: number,
  chunks: readonly number[] = [],
) {
  return { id, promptTokens, outputTokens, chunks };
}

describe("the step engine", () => {
  test("takes the time of the formula for each step of one answer", ({ expect }) => {
    const engine = anEngine();
    engine.submit(aPrompt(1, 1_000, 3), 0);
    const seen = drain(engine);
    expect(timeOf(seen, "started", 1)).toBe(12);
    // 10 + 1 + 1 + 2, and a KV token more.
    expect(timeOf(seen, "finished", 1)).toBeCloseTo(12 + 14 + 14.001, 6);
  });

  test("computes a long prompt in chunks of 2,048 tokens", ({ expect }) => {
    const engine = anEngine();
    engine.submit(aPrompt(1, 5_000, 1), 0);
    // Twice 20.48 + 2, then 904 tokens below the floor of 10.
    expect(timeOf(drain(engine), "finished", 1)).toBeCloseTo(56.96, 6);
  });

  test("lets a prompt join at the border of the step that runs", ({ expect }) => {
    const engine = anEngine();
    engine.submit(aPrompt(1, 1_000, 100), 0);
    engine.finishRun();
    // The steps of the first end at 26 and 40.001.
    engine.submit(aPrompt(2, 500, 1), 30);
    const seen = drain(engine);
    expect(seen[0]?.atMs).toBeCloseTo(40.001, 6);
    // 501 tokens: floor 10, one sequence decodes with 1,002 tokens.
    expect(timeOf(seen, "started", 2)).toBeCloseTo(40.001 + 10 + 1 + 1.002 + 2, 6);
  });

  test("finds the chunks of an earlier prompt, and computes one token at least", ({ expect }) => {
    const engine = anEngine();
    engine.submit(aPrompt(1, 1_024, 1, [7, 8]), 0);
    drain(engine);
    engine.submit(aPrompt(2, 1_600, 1, [7, 8, 9]), 100);
    const [first] = drain(engine);
    expect(first?.outcome.admitted).toStrictEqual([{ id: 2, cachedTokens: 1_024 }]);
    engine.submit(aPrompt(3, 1_024, 1, [7, 8]), 200);
    expect(drain(engine)[0]?.outcome.admitted).toStrictEqual([{ id: 3, cachedTokens: 512 }]);
  });

  test("forgets the least recently read chunk first, its tail before its head", ({ expect }) => {
    // 160 blocks: 5 chunks.
    const engine = anEngine({ kvTokens: 2_560 });
    const ask = (id: number, tokens: number, chunks: readonly number[]): number => {
      engine.submit(aPrompt(id, tokens, 1, chunks), 1_000 * id);
      return drain(engine)[0]?.outcome.admitted[0]?.cachedTokens ?? -1;
    };
    ask(1, 1_100, [1, 2]);
    ask(2, 1_100, [3, 4]);
    // Needs 2,064 tokens of 2,560: what the second has not, and the tail of the first.
    ask(3, 1_500, []);
    expect(ask(4, 1_100, [3, 4])).toBe(1_024);
    expect(ask(5, 1_100, [1, 2])).toBeLessThan(1_024);
  });

  test("keeps a prompt waiting that has no room, and those behind it", ({ expect }) => {
    const engine = anEngine({ kvTokens: 3_200 });
    engine.submit(aPrompt(1, 2_000, 50), 0);
    engine.submit(aPrompt(2, 2_000, 1), 0);
    engine.submit(aPrompt(3, 16, 1), 0);
    const seen = drain(engine);
    const finishedMs = timeOf(seen, "finished", 1);
    expect(timeOf(seen, "started", 2)).toBeGreaterThan(finishedMs);
    expect(timeOf(seen, "started", 3)).toBeGreaterThan(finishedMs);
  });

  test("runs no more sequences at once than it may", ({ expect }) => {
    const engine = anEngine({}, 2);
    for (const id of [1, 2, 3]) engine.submit(aPrompt(id, 100, 10), 0);
    const seen = drain(engine);
    expect(timeOf(seen, "started", 3)).toBeGreaterThan(timeOf(seen, "finished", 1));
  });

  test("preempts the newest when memory ends, and still answers it", ({ expect }) => {
    const engine = anEngine({ kvTokens: 3_200 });
    engine.submit(aPrompt(1, 1_500, 600), 0);
    engine.submit(aPrompt(2, 1_500, 600), 0);
    const seen = drain(engine);
    expect(seen.reduce((sum, { outcome }) => sum + outcome.preempted, 0)).toBe(1);
    expect(timeOf(seen, "finished", 1)).toBeLessThan(timeOf(seen, "finished", 2));
    // Its first token came before the preemption, and comes once.
    expect(seen.filter(({ outcome }) => outcome.started.includes(2))).toHaveLength(1);
  });

  test("refuses what exceeds the whole memory", ({ expect }) => {
    expect(anEngine({ kvTokens: 3_200 }).submit(aPrompt(1, 3_000, 300), 0)).toBe(false);
  });

  test("takes longer while it is slow, from the next border on", ({ expect }) => {
    const engine = anEngine();
    engine.submit(aPrompt(1, 1_000, 3), 0);
    engine.slow(5, 1);
    const seen = drain(engine);
    expect(timeOf(seen, "started", 1)).toBe(12);
    expect(timeOf(seen, "finished", 1)).toBeCloseTo(12 + 5 * (14 + 14.001), 6);
  });

  test("knows the tokens of a run that has not ended, and loses everything with its memory", ({
    expect,
  }) => {
    const engine = anEngine();
    engine.submit(aPrompt(1, 1_000, 100), 0);
    engine.finishRun();
    expect(engine.generatedOf(1, 12)).toBe(1);
    expect(engine.generatedOf(1, 30)).toBe(2);
    engine.reset();
    expect(engine.endsAtMs()).toBe(Infinity);
    expect(engine.generatedOf(1, 30)).toBe(0);
  });

  test("gives an aborted answer's memory to the next at the border of the step", ({ expect }) => {
    const engine = anEngine({ kvTokens: 3_200 });
    engine.submit(aPrompt(1, 2_000, 500), 0);
    engine.finishRun();
    engine.submit(aPrompt(2, 2_000, 1), 30);
    // The steps of the first end at 22 (2,000 × 0.01 + 2), then after 10 + 1 + 2 + 2 each and a KV token more.
    expect(engine.abort(1, 30)).toBe(2_000);
    const seen = drain(engine);
    expect(seen[0]?.atMs).toBeCloseTo(37, 6);
    expect(timeOf(seen, "started", 2)).toBeCloseTo(37 + 22, 6);
    expect(timeOf(seen, "finished", 1)).toBe(-1);
    expect(engine.generatedOf(1, 100)).toBe(0);
    expect(engine.load()).toStrictEqual({ running: 0, waiting: 0, kvShare: 0 });
  });

  test("counts what was computed for nothing, and keeps whole chunks of it", ({ expect }) => {
    const engine = anEngine();
    const chunks = [1, 2, 3, 4, 5, 6, 7, 8, 9];
    engine.submit(aPrompt(1, 5_000, 10, chunks), 0);
    // 2,048 tokens in each of the first two steps; the second runs.
    expect(engine.abort(1, 23)).toBe(4_096);
    expect(drain(engine)).toHaveLength(1);
    engine.submit(aPrompt(2, 5_000, 10, chunks), 100);
    expect(engine.finishRun().admitted).toStrictEqual([{ id: 2, cachedTokens: 4_096 }]);
  });

  test("forgets an aborted prompt that waits, and lets those behind it in", ({ expect }) => {
    const engine = anEngine({ kvTokens: 3_200 });
    engine.submit(aPrompt(1, 1_600, 300), 0);
    engine.submit(aPrompt(2, 3_000, 1), 1);
    engine.submit(aPrompt(3, 500, 1), 1);
    engine.finishRun();
    expect(engine.load()).toMatchObject({ running: 1, waiting: 2 });
    expect(engine.abort(2, 30)).toBe(0);
    expect(engine.abort(2, 30)).toBe(0);
    const seen = drain(engine);
    expect(timeOf(seen, "started", 2)).toBe(-1);
    expect(timeOf(seen, "finished", 3)).toBeLessThan(timeOf(seen, "finished", 1));
  });

  test("agrees with the simulated engine that does every step", ({ expect }) => {
    const random = seededRandom(11);
    let atMs = 0;
    const prompts = Array.from({ length: 60 }, (_, id) => {
      atMs += random() * 60;
      const promptTokens = 1 + Math.floor(random() * 4_000);
      return { id, atMs, promptTokens, outputTokens: 1 + Math.floor(random() * 60) };
    });
    const wanted = new Map<number, number>();
    const reference = createBatchEngine({ profile, concurrentMax: 4, kvTokens: profile.kvTokens });
    const queue = [...prompts];
    for (let nowMs = 0; wanted.size < prompts.length;) {
      for (let next = queue[0]; next !== undefined && next.atMs <= nowMs; next = queue[0]) {
        reference.submit({ ...next, priority: 0, keyOfBlock: () => 0 });
        queue.shift();
      }
      const step = reference.step(nowMs);
      for (const id of step?.finished ?? []) wanted.set(id, step?.endsAtMs ?? 0);
      nowMs = step?.endsAtMs ?? queue[0]?.atMs ?? nowMs;
    }
    const engine = anEngine({}, 4);
    const got = new Map<number, number>();
    const finish = (): void => {
      const endedMs = engine.endsAtMs();
      for (const id of engine.finishRun().finished) got.set(id, endedMs);
    };
    for (const prompt of prompts) {
      while (engine.endsAtMs() < prompt.atMs) finish();
      engine.submit({ ...prompt, chunks: [] }, prompt.atMs);
    }
    while (engine.endsAtMs() < Infinity) finish();
    for (const { id } of prompts) expect(got.get(id)).toBeCloseTo(wanted.get(id) ?? -1, 3);
  });
});
