import { describe, it } from "vitest";
import { createShardBook } from "#regional/scheduler/shard-book.ts";
import type { ShardBook } from "#regional/scheduler/shard-book.ts";
import type { AnswerSeen, ShardChoice } from "#regional/scheduler/shard-choice.ts";
import type { SlotRequest } from "#regional/scheduler/scheduler.ts";
import { defaultBreakerPolicy } from "#shared/breaker/breaker-policy.ts";
import type { ShardDescription } from "#shared/config/topology.ts";
import type { Jurisdiction, ShardId } from "#shared/residency/brands.ts";
import { shuffleSet } from "#shared/routing/shuffle-set.ts";

const idsOf = (count: number): readonly ShardId[] =>
  Array.from({ length: count }, (_, index) => `c/s-${index}` as ShardId);
const promptKeys = Array.from({ length: 40 }, (_, index) => index / 100);

function aBook(
  count: number,
  changes: {
    readonly isConfined?: (tenant: string) => boolean;
    readonly level?: () => number;
  } = {},
): ShardBook {
  return createShardBook({
    shards: idsOf(count).map(
      (id) =>
        ({
          id,
          model: "m",
          revision: "1",
          backend: { kind: "simulated", profile: "l4-8b" },
          concurrentRequestsMax: 64,
          kvTokensMax: 100_000,
          pricePerHourMicroUsd: 1_000_000,
        }) as ShardDescription,
    ),
    jurisdiction: "eu" as Jurisdiction,
    contextTokensMax: () => 50_000,
    random: () => 0,
    policy: defaultBreakerPolicy,
    ...changes,
  });
}

function aRequest(changes: Partial<SlotRequest> = {}): SlotRequest {
  return {
    model: "m",
    homeShard: null,
    affinityKey: "key",
    excluded: [],
    priority: "interactive",
    promptTokensEstimate: 10_240,
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

const seen: AnswerSeen = { tokens: 100, prompt: { tokens: 10_240, cachedTokens: 0 } };

/** Runs a prompt to its end, at the speed that was predicted. */
function run(book: ShardBook, request: SlotRequest, atMs: number): Chosen {
  const choice = chosen(book.choose(request, atMs));
  const dispatch = book.begin(choice, atMs);
  book.firstToken(dispatch, atMs + choice.predicted.ttftSeconds * 1_000);
  book.end(dispatch, { kind: "succeeded" }, seen, atMs + choice.predicted.ttftSeconds * 1_000);
  return choice;
}

describe("a conversation's home", () => {
  const conversation = { conversationId: "conv_1", affinityKey: "another" };

  it("gets the next turn, which then computes only what is new", ({ expect }) => {
    const book = aBook(2);
    const first = run(book, aRequest(conversation), 0);
    const other = idsOf(2).find((id) => id !== first.shard) ?? first.shard;
    for (const homeShard of [first.shard, other]) {
      const next = book.choose(
        aRequest({ ...conversation, homeShard, promptTokensEstimate: 10_500 }),
        30_000,
      );
      expect(next).toMatchObject({ kind: "chosen", shard: homeShard, reason: "home" });
    }
    const warm = chosen(
      book.choose(
        aRequest({ ...conversation, homeShard: first.shard, promptTokensEstimate: 10_500 }),
        30_000,
      ),
    );
    // All but what the 30 s of idleness have cost.
    expect(warm.demand.uncachedTokens).toBeGreaterThanOrEqual(10_500 - 10_340);
    expect(warm.demand.uncachedTokens).toBeLessThan(500);
    expect(warm.predicted.ttftSeconds).toBeLessThan(first.predicted.ttftSeconds / 10);
  });

  it("is passed by for a turn that would wait there longer than computing it elsewhere costs all", ({
    expect,
  }) => {
    const book = aBook(2);
    const request = aRequest({ ...conversation, promptTokensEstimate: 2_000 });
    const home = run(book, request, 0).shard;
    book.begin(
      chosen(book.choose(aRequest({ onlyShard: home, promptTokensEstimate: 12_000 }), 1_000)),
      1_000,
    );
    const next = chosen(book.choose({ ...request, homeShard: home }, 1_000));
    expect(next.reason).toBe("spill");
    expect(next.runnersUp[0]?.id).toBe(home);
  });

  it("is kept by conversations that pass it by when too many have left it in a minute", ({
    expect,
  }) => {
    const book = aBook(2);
    const request = aRequest({ ...conversation, promptTokensEstimate: 2_000 });
    const homeShard = run(book, request, 0).shard;
    book.begin(
      chosen(book.choose(aRequest({ onlyShard: homeShard, promptTokensEstimate: 12_000 }), 1_000)),
      1_000,
    );
    const spills = [1_000, 1_001, 1_002].map((nowMs) => {
      const next = chosen(book.choose({ ...request, homeShard }, nowMs));
      expect(next.reason).toBe("spill");
      return next.spill;
    });
    expect(spills[0]).not.toBe("held");
    expect(spills[2]).toBe("held");
  });

  it("is no home any more when its shard was sent more than it can keep since", ({ expect }) => {
    const book = aBook(2);
    const request = aRequest(conversation);
    const home = run(book, request, 0).shard;
    for (let count = 1; count <= 40; count += 1)
      run(book, aRequest({ onlyShard: home, promptTokensEstimate: 40_000 }), count * 20_000);
    const next = chosen(book.choose({ ...request, homeShard: home }, 820_000));
    expect(["affinity", "best"]).toContain(next.reason);
    expect(next.demand.uncachedTokens).toBeGreaterThan(9_000);
  });

  it("is believed for half of the prompt by a cell that has just started", ({ expect }) => {
    const [, home] = idsOf(2);
    const next = chosen(aBook(2).choose(aRequest({ ...conversation, homeShard: home ?? null }), 0));
    expect(next).toMatchObject({ shard: home, reason: "home" });
    expect(next.demand.uncachedTokens).toBe(5_120);
  });
});

describe("prompts that share a prefix", () => {
  it("meet on the shard that has it, whatever their keys say", ({ expect }) => {
    const book = aBook(2);
    const first = run(book, aRequest({ promptKeys }), 0);
    for (let count = 0; count < 20; count += 1) {
      const next = run(book, aRequest({ promptKeys, affinityKey: `k${count}` }), 10_000 + count);
      expect(next.shard).toBe(first.shard);
      expect(next.demand.uncachedTokens).toBe(1);
    }
  });

  it("are spread all the same when many come at once", ({ expect }) => {
    const book = aBook(2);
    const request = aRequest({
      promptKeys: promptKeys.slice(0, 8),
      promptTokensEstimate: 2_048,
      completionTokensMax: 50,
    });
    run(book, request, 0);
    for (let count = 0; count < 100; count += 1)
      book.begin(chosen(book.choose(request, 9_000)), 9_000);
    // By work, not by count: the prefix is computed once more, and that weighs as much as sixty short answers.
    const [first = 0, second = 0] = book.statuses(9_000).map((status) => status.workTokens);
    expect(Math.max(first, second) / (first + second)).toBeLessThan(0.7);
  });

  it("are new again to a shard whose breaker has opened: it was started again", ({ expect }) => {
    const book = aBook(1);
    run(book, aRequest({ promptKeys }), 0);
    for (let count = 0; count < 5; count += 1) {
      const dispatch = book.begin(chosen(book.choose(aRequest({ promptKeys }), 10)), 10);
      book.end(dispatch, { kind: "failed", failure: { reason: "cut" } }, seen, 10);
    }
    for (let count = 0; count < 5; count += 1)
      book.probed(idsOf(1)[0] as ShardId, { ok: true }, 60_000);
    expect(chosen(book.choose(aRequest({ promptKeys }), 60_000)).demand.uncachedTokens).toBe(
      10_240,
    );
  });
});

describe("a tenant's shuffle set in a cell", () => {
  const ids = idsOf(8);
  const own = shuffleSet("acme", ids, "interactive");
  const isOwn = ({ shard }: Chosen): boolean => own.has(shard);

  it("bounds where its prompts go", ({ expect }) => {
    const book = aBook(8);
    for (let count = 0; count < 100; count += 1)
      expect(isOwn(run(book, aRequest({ affinityKey: `k${count}` }), count * 10))).toBe(true);
  });

  it("is left for load, and when all of it is ill", ({ expect }) => {
    for (const trouble of ["load", "drain"] as const) {
      const book = aBook(8);
      for (const shard of own) {
        if (trouble === "drain") book.setDraining(shard, true, 0);
        else book.begin(chosen(book.choose(aRequest({ onlyShard: shard }), 0)), 0);
      }
      const next = chosen(book.choose(aRequest(), 0));
      expect(next.reason).toBe("overflow");
      expect(isOwn(next)).toBe(false);
    }
  });

  it("is not left, not even for load, by a tenant whose prompt broke a shard", ({ expect }) => {
    const book = aBook(8, { isConfined: (tenant) => tenant === "acme" });
    expect(book.choose(aRequest({ excluded: [...own] }), 0)).toMatchObject({ kind: "none" });
    for (const shard of own) book.setDraining(shard, true, 0);
    expect(book.choose(aRequest(), 0)).toMatchObject({ kind: "none", reason: "unhealthy" });
    const set = shuffleSet("other", ids, "interactive");
    const other = aRequest({ tenant: "other", excluded: [...set] });
    expect(chosen(book.choose(other, 0)).reason).toBe("overflow");
  });

  it("is left by a prompt that found no answer in it", ({ expect }) => {
    const next = chosen(aBook(8).choose(aRequest({ excluded: [...own] }), 0));
    expect(next.reason).toBe("overflow");
    expect(isOwn(next)).toBe(false);
  });
});
