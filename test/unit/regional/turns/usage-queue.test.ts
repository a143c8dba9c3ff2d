import { describe, it } from "vitest";
import { createUsageQueue } from "#regional/turns/usage-queue.ts";
import type { HistoryStore, OwnedUsage } from "#shared/protocol/internal/history.ts";

const clock = { nowMs: () => 0, after: () => () => {}, every: () => () => {} };
const usage = (turnId: string) => ({ turnId }) as OwnedUsage;

function aStore() {
  const written: string[] = [];
  const state = { isThere: true, statements: 0 };
  const store = {
    recordUsage: async (records: readonly OwnedUsage[]) => {
      if (!state.isThere) return "unavailable";
      state.statements += 1;
      const ids = records.map(({ turnId }) => turnId);
      if (ids.includes("bad")) throw new Error("a record that the database does not take");
      written.push(...ids);
      return "recorded";
    },
  } as unknown as HistoryStore;
  return { written, state, store };
}

describe("the usage queue", () => {
  it("keeps what a database that is away did not take, and writes it once when it is back", async ({
    expect,
  }) => {
    const { state, store, written } = aStore();
    const queue = createUsageQueue(store, clock);
    state.isThere = false;
    for (let index = 0; index < 30; index += 1) queue.add(usage(`t${index}`));
    await queue.flush();
    expect([written.length, queue.waitingCount()]).toEqual([0, 30]);
    state.isThere = true;
    await queue.flush();
    expect(queue.waitingCount()).toBe(0);
    expect(new Set(written).size).toBe(30);
    expect(written).toHaveLength(30);
  });

  it("writes hundreds of records with one statement", async ({ expect }) => {
    const { state, store, written } = aStore();
    const queue = createUsageQueue(store, clock);
    for (let index = 0; index < 1_200; index += 1) queue.add(usage(`t${index}`));
    await queue.flush();
    expect([written.length, state.statements]).toEqual([1_200, 3]);
  });

  it("writes all others when the database does not take one, and keeps that one", async ({
    expect,
  }) => {
    const { store, written } = aStore();
    const queue = createUsageQueue(store, clock);
    for (let index = 0; index < 1_200; index += 1) {
      queue.add(usage(index === 700 ? "bad" : `t${index}`));
    }
    await queue.flush();
    expect(queue.waitingCount()).toBe(1);
    expect(new Set(written).size).toBe(1_199);
    expect(written).toHaveLength(1_199);
    queue.add(usage("later"));
    await queue.flush();
    expect([written.at(-1), queue.waitingCount()]).toEqual(["later", 1]);
  });

  it("keeps a record whose write threw", async ({ expect }) => {
    const store = { recordUsage: () => Promise.reject(new Error("x")) } as unknown as HistoryStore;
    const queue = createUsageQueue(store, clock);
    queue.add(usage("t"));
    await queue.flush();
    expect(queue.waitingCount()).toBe(1);
  });

  it("refuses what it cannot hold", ({ expect }) => {
    const queue = createUsageQueue(aStore().store, clock);
    for (let index = 0; index < 100_000; index += 1) queue.add(usage("t"));
    expect(queue.add(usage("t"))).toBe(false);
  });
});
