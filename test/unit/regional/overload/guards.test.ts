import { describe, it } from "vitest";
import { unlimitedConditions } from "#shared/conversation/turn-conditions.ts";
import { createTurnGuards } from "#regional/overload/guards.ts";
import type { DegradationLevel } from "#shared/overload/level-policy.ts";
import type { TurnRequest } from "#shared/protocol/internal/turn-request.ts";
import { createMetricsRegistry } from "#shared/telemetry/metrics.ts";
import { HandClock } from "#test/support/hand-clock.ts";
import { Run, chosen, failed, shard, start } from "#test/support/turn-run.ts";

const anywhere = () => unlimitedConditions.elsewhere;

function aWorld() {
  const clock = new HandClock();
  const world: { level: DegradationLevel; saturation: number } = { level: 0, saturation: 0.2 };
  const guards = createTurnGuards({
    level: {
      level: () => world.level,
      inputs: () => ({ ...world, queueDelay: 0, healthyShare: 1, errorRatio: 0 }),
    },
    clock,
    random: { unit: () => 0.5, hex: () => "" },
    metrics: createMetricsRegistry(),
  });
  const predicted = {
    ttftSeconds: 1,
    interTokenSeconds: 0.01,
    outputTokens: 10,
    outputTokensP90: 20,
  };
  const slot = { shard: shard("a"), predicted };
  return { clock, world, guards, slot };
}

function aTurn(changes: Partial<TurnRequest> = {}): TurnRequest {
  return {
    priority: "interactive",
    resume: null,
    hop: 0,
    engine: { path: "chat/completions", promptTokensEstimate: 100 },
    ...changes,
  } as unknown as TurnRequest;
}

describe("a cell's retries", () => {
  it("are a tenth of its turns in a storm where every shard fails every turn", ({ expect }) => {
    const { guards } = aWorld();
    const turns = 3_000;
    let dispatches = 0;
    for (let index = 0; index < turns; index += 1) {
      const run = new Run(true, guards.conditions(aTurn(), anywhere));
      run.feed(start);
      guards.dispatched(aTurn());
      for (let tried = 1; run.state.phase === "choosing"; tried += 1) {
        run.feed(chosen(`s${tried}`), failed({ reason: "serverError", status: 500 }, tried));
        dispatches += 1;
        if (run.effects.some((effect) => effect.kind === "fail")) break;
        guards.retried();
      }
    }
    expect(dispatches).toBeGreaterThan(turns * 1.09);
    expect(dispatches).toBeLessThanOrEqual(turns * 1.1 + 20);
  });
});

describe("a cell's hedges", () => {
  it("are planned only for shards that were heard a moment ago", ({ expect }) => {
    const { clock, guards, slot } = aWorld();
    expect(guards.plan(aTurn(), slot, true)).toMatchObject({
      hedgeMs: null,
      firstTokenTimeoutMs: 45_000,
    });
    guards.spoke(slot, 900);
    expect(guards.plan(aTurn(), slot, true)).toMatchObject({
      hedgeMs: 2_000,
      firstTokenTimeoutMs: 4_000,
    });
    expect(guards.plan(aTurn(), slot, false).hedgeMs).toBeNull();
    clock.move(61_000);
    expect(guards.plan(aTurn(), slot, true).hedgeMs).toBeNull();
  });

  const never: readonly (readonly [string, Partial<TurnRequest>])[] = [
    ["a standard turn", { priority: "standard" }],
    ["a batch turn", { priority: "batch" }],
    ["a turn that another cell passed on", { hop: 1 }],
    ["a begun answer", { resume: { frames: "x", toSeq: 1, surplusTokens: 0, continuations: 1 } }],
    ["embeddings", { engine: { path: "embeddings", promptTokensEstimate: 1 } as never }],
  ];
  for (const [name, changes] of never) {
    it(`are not for ${name}`, ({ expect }) => {
      const { guards, slot } = aWorld();
      guards.spoke(slot, 900);
      expect(guards.plan(aTurn(changes), slot, true).hedgeMs).toBeNull();
      expect(guards.conditions(aTurn(changes), anywhere).mayHedge).toBe(false);
    });
  }

  it("stop at level 1, above a saturation of 0.7, and with an empty budget", ({ expect }) => {
    const { guards, world } = aWorld();
    const conditions = guards.conditions(aTurn(), anywhere);
    expect(conditions.mayHedge).toBe(true);
    world.level = 1;
    expect(conditions.mayHedge).toBe(false);
    Object.assign(world, { level: 0, saturation: 0.8 });
    expect(conditions.mayHedge).toBe(false);
    world.saturation = 0.2;
    guards.hedged(aTurn());
    expect(conditions.mayHedge).toBe(false);
    for (let index = 0; index < 50; index += 1) guards.dispatched(aTurn());
    expect(conditions.mayHedge).toBe(true);
  });
});
