import { describe, expect, it } from "vitest";
import { canaryPrompts } from "#regional/health/canaries.ts";
import { createReferenceKeeper } from "#regional/health/reference-keeper.ts";
import type { CanaryReference, CanaryStore } from "#regional/ports/canary-store.ts";
import { createShardHealth } from "#shared/health/shard-health.ts";
import type { ShardId } from "#shared/residency/brands.ts";
import { HandClock } from "#test/support/hand-clock.ts";

const ids = ["a/0", "a/1"] as ShardId[];
const right = ["o", "n", "e"];
const wrong = ["t", "w", "o"];
const [first, second] = ids as [ShardId, ShardId];

/** A store in memory that can be away. */
class MemoryCanaryStore implements CanaryStore {
  isAway = false;
  writes = 0;
  readonly rows = new Map<string, CanaryReference>();
  async read() {
    return this.isAway ? ("unavailable" as const) : [...this.rows.values()];
  }
  async keep(reference: CanaryReference) {
    if (this.isAway) return "unavailable" as const;
    this.writes += 1;
    this.rows.set(`${reference.model} ${reference.revision} ${reference.prompt}`, reference);
    return "kept" as const;
  }
}

/** A run of a cell with two shards of one model. */
function aRun(store: CanaryStore, revision = "r1") {
  const shards = ids.map((id) => ({ id, model: "m", revision, concurrentRequestsMax: 8 }));
  const health = createShardHealth({ shards, onChange: () => {} });
  const keeper = createReferenceKeeper({ store, shards, health, clock: new HandClock() });
  return {
    health,
    keeper,
    canaried(shard: ShardId, answer: readonly string[], prompt = 0) {
      const verdict = health.canaried(shard, prompt, answer);
      if (verdict === "agrees") keeper.noted(shard, prompt);
      return verdict;
    },
  };
}

/** A run in which both shards gave the right answer, and what was kept of it. */
async function aKeptRun() {
  const store = new MemoryCanaryStore();
  const run = aRun(store);
  run.canaried(first, right);
  run.canaried(second, right);
  await run.keeper.look();
  return { run, store };
}

describe("the references of canaries", () => {
  it("find a shard out that went wrong while its cell was started again", async () => {
    const { store } = await aKeptRun();
    const again = aRun(store);
    await again.keeper.look();
    expect(again.canaried(first, right)).toBe("agrees");
    expect(again.canaried(second, wrong)).toBe("disagrees");
    const forgetful = aRun(new MemoryCanaryStore());
    forgetful.canaried(first, right);
    expect(forgetful.canaried(second, wrong)).toBe("unknown");
  });

  it("condemn nobody on their own: what all shards say together is right", async () => {
    const { store } = await aKeptRun();
    const again = aRun(store);
    await again.keeper.look();
    expect(again.canaried(first, wrong)).toBe("unknown");
    expect(again.canaried(second, wrong)).toBe("agrees");
    await again.keeper.look();
    expect([...store.rows.values()]).toMatchObject([{ answer: wrong }]);
  });

  it("are written when they change, and not each time that they are met", async () => {
    const { run, store } = await aKeptRun();
    expect(store.writes).toBe(1);
    for (const shard of [first, second, first]) run.canaried(shard, right);
    await run.keeper.look();
    expect(store.writes).toBe(1);
    const again = aRun(store);
    await again.keeper.look();
    for (const shard of [first, second]) again.canaried(shard, right);
    await again.keeper.look();
    expect(store.writes).toBe(1);
  });

  it("wait for a database that is away, and do not replace what was agreed on meanwhile", async () => {
    const { store } = await aKeptRun();
    store.isAway = true;
    const again = aRun(store);
    await again.keeper.look();
    for (const shard of [first, second]) again.canaried(shard, wrong);
    await again.keeper.look();
    store.isAway = false;
    await again.keeper.look();
    expect(again.health.referenceOf(first, 0)).toStrictEqual(wrong);
    expect([...store.rows.values()]).toMatchObject([{ answer: wrong }]);
  });

  it("of another revision, or of a prompt that is no longer asked, say nothing", async () => {
    const { store } = await aKeptRun();
    await store.keep({ model: "m", revision: "r1", prompt: "Who are you?", answer: wrong });
    const other = aRun(store, "r2");
    await other.keeper.look();
    expect(other.health.referenceOf(first, 0)).toBeNull();
    const same = aRun(store);
    await same.keeper.look();
    const kept = canaryPrompts.map((_, prompt) => same.health.referenceOf(first, prompt));
    expect(kept).toStrictEqual([right, null, null, null, null]);
  });
});
