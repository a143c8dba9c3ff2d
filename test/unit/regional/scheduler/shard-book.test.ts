import { describe, it } from "vitest";
import { createShardBook } from "#regional/scheduler/shard-book.ts";
import type { ShardBook } from "#regional/scheduler/shard-book.ts";
import type { ShardChoice } from "#regional/scheduler/shard-choice.ts";
import type { SlotRequest } from "#regional/scheduler/scheduler.ts";
import { defaultBreakerPolicy } from "#shared/breaker/breaker-policy.ts";
import type { ShardDescription } from "#shared/config/topology.ts";
import type { Jurisdiction, ShardId } from "#shared/residency/brands.ts";

const shardA = "c/a" as ShardId;
const shardB = "c/b" as ShardId;

function aShard(id: ShardId, changes: Partial<ShardDescription> = {}): ShardDescription {
  return {
    id,
    model: "m",
    revision: "1",
    backend: { kind: "simulated", profile: "h100-8b" },
    concurrentRequestsMax: 64,
    kvTokensMax: 400_000,
    pricePerHourMicroUsd: 1_000_000,
    ...changes,
  } as ShardDescription;
}

function aBook(shards: readonly ShardDescription[] = [aShard(shardA), aShard(shardB)]): ShardBook {
  return createShardBook({
    shards,
    jurisdiction: "eu" as Jurisdiction,
    contextTokensMax: () => 100_000,
    random: () => 0,
    policy: defaultBreakerPolicy,
  });
}

function aRequest(changes: Partial<SlotRequest> = {}): SlotRequest {
  return {
    model: "m",
    homeShard: null,
    affinityKey: "",
    excluded: [],
    priority: "interactive",
    promptTokensEstimate: 3_000,
    deadlineMs: 1_000_000,
    tenant: "acme",
    conversationId: null,
    promptKeys: [],
    path: "chat/completions",
    completionTokensMax: 100,
    ...changes,
  };
}

type Chosen = ShardChoice & { readonly kind: "chosen" };

function chosen(choice: ShardChoice): Chosen {
  if (choice.kind === "none") throw new Error(choice.reason);
  return choice;
}

function statusOf(book: ShardBook, id: ShardId, nowMs = 0) {
  const status = book.statuses(nowMs).find((one) => one.id === id);
  if (status === undefined) throw new Error("no such shard");
  return status;
}

const nothing = { tokens: 0, prompt: null };
const idle = { inFlight: 0, pendingPrefillTokens: 0, kvShare: 0, workTokens: 0, promptTokens: 0 };

describe("the book of a cell's shards", () => {
  it("predicts the first token from the prompt, and later ones from the batch", ({ expect }) => {
    const book = aBook([aShard(shardA)]);
    const { predicted } = chosen(book.choose(aRequest({ promptTokensEstimate: 30_000 }), 0));
    // 30,000 tokens at 30,000 a second, and one step.
    expect(predicted.ttftSeconds).toBeCloseTo(1.01, 2);
    expect(predicted.interTokenSeconds).toBeCloseTo(0.0112, 3);
    expect(predicted.outputTokens).toBeLessThanOrEqual(100);
  });

  it("counts a dispatch whole, its prefill until the first token, and nothing once it has ended", ({
    expect,
  }) => {
    const book = aBook([aShard(shardA)]);
    const choice = chosen(book.choose(aRequest(), 0));
    const dispatch = book.begin(choice, 0);
    expect(statusOf(book, shardA)).toMatchObject({
      inFlight: 1,
      pendingPrefillTokens: 3_000,
      promptTokens: 3_000,
      workTokens: 3_200,
      kvShare: 3_100 / 400_000,
    });
    book.firstToken(dispatch, 100);
    book.firstToken(dispatch, 200);
    expect(statusOf(book, shardA)).toMatchObject({ inFlight: 1, pendingPrefillTokens: 0 });
    book.end(dispatch, { kind: "succeeded" }, { tokens: 100, prompt: null }, 1_000);
    expect(statusOf(book, shardA)).toMatchObject({ ...idle, saturation: 0 });
  });

  it("counts nothing twice when a dispatch ends before its first token", ({ expect }) => {
    const book = aBook([aShard(shardA)]);
    for (const kind of ["aborted", "failed"] as const) {
      const dispatch = book.begin(chosen(book.choose(aRequest(), 0)), 0);
      const failure = { reason: "cut" } as const;
      book.end(dispatch, kind === "failed" ? { kind, failure } : { kind }, nothing, 10);
      expect(statusOf(book, shardA)).toMatchObject(idle);
    }
  });

  it("sends the next prompt where less prefill is in front", ({ expect }) => {
    const book = aBook();
    const first = chosen(book.choose(aRequest({ promptTokensEstimate: 50_000 }), 0));
    const dispatch = book.begin(first, 0);
    const second = chosen(book.choose(aRequest(), 0));
    expect(second.shard).not.toBe(first.shard);
    expect(second.runnersUp[0]?.id).toBe(first.shard);
    book.firstToken(dispatch, 2_000);
    expect(statusOf(book, first.shard).pendingPrefillTokens).toBe(0);
  });

  it("spreads a thousand choices of one moment over equal shards, because each is counted at once", ({
    expect,
  }) => {
    const ids = Array.from({ length: 8 }, (_, index) => `c/${index}` as ShardId);
    const shards = ids.map((id) => aShard(id, { concurrentRequestsMax: 1_000 }));
    const book = aBook(shards);
    const request = aRequest({ promptTokensEstimate: 100, affinityKey: "one key" });
    for (let count = 0; count < 1_000; count += 1) {
      book.begin(chosen(book.choose({ ...request, tenant: `t${count}` }, 0)), 0);
    }
    const inFlight = book.statuses(0).map((status) => status.inFlight);
    expect(inFlight.reduce((sum, count) => sum + count, 0)).toBe(1_000);
    expect(Math.max(...inFlight)).toBeLessThanOrEqual(1.25 * 125 + 1);
  });

  it("prefers the other shard while one fails fast, and comes back to it when that is past", ({
    expect,
  }) => {
    const book = aBook();
    const request = aRequest({ promptTokensEstimate: 10_000, affinityKey: "k" });
    const first = chosen(book.choose(request, 0));
    const dispatch = book.begin(first, 0);
    book.end(dispatch, { kind: "failed", failure: { reason: "cut" } }, nothing, 1);
    expect(chosen(book.choose(request, 1)).shard).not.toBe(first.shard);
    expect(chosen(book.choose(request, 120_000)).shard).toBe(first.shard);
  });

  it("learns how slow a shard of unknown hardware is from its answers", ({ expect }) => {
    const unknown = { kind: "openai-compatible", url: "http://127.0.0.1:1/v1" } as const;
    const book = aBook([aShard(shardA, { backend: unknown })]);
    const before = chosen(book.choose(aRequest(), 0)).predicted;
    for (let count = 0; count < 100; count += 1) {
      const atMs = count * 10_000;
      const dispatch = book.begin(chosen(book.choose(aRequest(), atMs)), atMs);
      book.firstToken(dispatch, atMs + 3_000);
      book.end(
        dispatch,
        { kind: "succeeded" },
        { tokens: 100, prompt: null },
        atMs + 3_000 + 100 * 99,
      );
    }
    const after = chosen(book.choose(aRequest(), 2_000_000)).predicted;
    expect(before.ttftSeconds).toBeLessThan(0.2);
    expect(after.ttftSeconds).toBeCloseTo(3, 0);
    expect(after.interTokenSeconds).toBeCloseTo(0.1, 2);
  });

  it("keeps to the named shard, or says why it may not be used", ({ expect }) => {
    const book = aBook();
    expect(chosen(book.choose(aRequest({ onlyShard: shardB }), 0)).shard).toBe(shardB);
    book.setDraining(shardB, true, 0);
    expect(book.choose(aRequest({ onlyShard: shardB }), 0)).toMatchObject({
      kind: "none",
      rejected: [
        { id: shardA, reason: "tenantSet" },
        { id: shardB, reason: "draining" },
      ],
    });
  });

  it("leaves it to the engine to refuse a prompt that is longer than the model's context", ({
    expect,
  }) => {
    const book = aBook([aShard(shardA)]);
    const choice = chosen(book.choose(aRequest({ promptTokensEstimate: 1_000_000 }), 0));
    expect(choice.demand).toMatchObject({ inputTokens: 100_000, outputTokens: 0 });
  });

  it("has no shard of a model that it does not serve", ({ expect }) => {
    expect(aBook().choose(aRequest({ model: "other" }), 0)).toEqual({
      kind: "none",
      reason: "noShard",
      rejected: [],
    });
  });

  it("passes a shard by that works for others, and counts its own again when the report is old", ({
    expect,
  }) => {
    const book = aBook();
    const request = aRequest({ promptTokensEstimate: 10_000, affinityKey: "k" });
    const first = chosen(book.choose(request, 0)).shard;
    const load = { running: 60, waiting: 100, kvShare: 1 };
    book.reported(first, load, book.ownOf(first), 0);
    expect(statusOf(book, first).saturation).toBeGreaterThan(0.8);
    expect(chosen(book.choose(request, 0)).shard).not.toBe(first);
    expect(chosen(book.choose(request, 5_001)).shard).toBe(first);
    // Alone it is still used: what a shard says of itself never closes it.
    expect(chosen(book.choose({ ...request, onlyShard: first }, 0)).shard).toBe(first);
  });

  it("does not believe a shard that says it is idle while the cell's own prompts are on it", ({
    expect,
  }) => {
    const book = aBook();
    const request = aRequest({ promptTokensEstimate: 20_000, affinityKey: "k" });
    const first = chosen(book.choose(request, 0));
    book.begin(first, 0);
    const liar = first.shard;
    book.reported(liar, { running: 0, waiting: 0, kvShare: 0 }, book.ownOf(liar), 0);
    expect(statusOf(book, liar)).toMatchObject({ inFlight: 1, pendingPrefillTokens: 20_000 });
    expect(chosen(book.choose(request, 0)).shard).not.toBe(liar);
  });

  it("trusts a shard less whose reports have stopped, and in full again when it makes none at all", ({
    expect,
  }) => {
    const book = aBook();
    const request = aRequest({ promptTokensEstimate: 100, affinityKey: "k" });
    const first = chosen(book.choose(request, 0)).shard;
    const load = { running: 0, waiting: 0, kvShare: 0 };
    book.reported(first, load, book.ownOf(first), 0);
    expect(chosen(book.choose(request, 30_000)).shard).toBe(first);
    expect(chosen(book.choose(request, 30_001)).shard).not.toBe(first);
    book.reported(first, null, book.ownOf(first), 31_000);
    expect(chosen(book.choose(request, 31_000)).shard).toBe(first);
  });

  it("begins with the speed of the hardware that the topology names, whatever drives it", ({
    expect,
  }) => {
    const at = (backend: object): number => {
      const book = aBook([aShard(shardA, { backend: backend as ShardDescription["backend"] })]);
      return chosen(book.choose(aRequest(), 0)).predicted.ttftSeconds;
    };
    const url = "http://127.0.0.1:1/v1";
    expect(at({ kind: "openai-compatible", url, profile: "l4-8b" })).toBeCloseTo(3_000 / 2_400, 0);
    expect(at({ kind: "openai-compatible", url })).toBeLessThan(0.2);
    expect(at({ kind: "simulated", profile: "l4-8b", speed: 10 })).toBeLessThan(0.2);
  });
});
