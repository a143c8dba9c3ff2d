import { describe, it } from "vitest";
import type { Clock } from "#regional/ports/clock.ts";
import type { Prewarmer } from "#regional/scheduler/prewarmer.ts";
import { createWarmConversations } from "#regional/scheduler/warm-conversations.ts";
import type { HistoryStore } from "#shared/protocol/internal/history.ts";
import type { PrewarmReply, PrewarmRequest } from "#shared/protocol/internal/prewarm.ts";
import type { TurnOutcome } from "#shared/protocol/internal/turn-outcome.ts";
import type { TurnRequest } from "#shared/protocol/internal/turn-request.ts";
import type { ConversationId, ShardId } from "#shared/residency/brands.ts";

const shard = "eu-west-1a/s-0" as ShardId;
const item = {
  id: "msg_1",
  type: "message",
  seq: 1,
  turnId: null,
  createdAtMs: 1,
  json: '{"id":"msg_1","type":"message","role":"user","content":[{"type":"input_text","text":"hi"}]}',
};

function aWorld(replies: PrewarmReply[] = []) {
  const world = { nowMs: 1_000, waitsMs: [] as number[], asked: [] as PrewarmRequest[] };
  const clock: Clock = {
    nowMs: () => world.nowMs,
    after(delayMs, run) {
      world.waitsMs.push(delayMs);
      world.nowMs += delayMs;
      run();
      return () => {};
    },
    every: () => () => {},
  };
  const prewarmer: Prewarmer = {
    warm: async (request) => {
      world.asked.push(request);
      const warmed = { kind: "warmed", shard: "b", promptTokens: 2, cachedTokens: 0 } as const;
      return replies.shift() ?? warmed;
    },
    measured: () => {},
  };
  const history: HistoryStore = {
    execute: async () => ({ kind: "applied" }),
    recordUsage: async () => "recorded",
    read: async () => [item],
    ping: async () => true,
    close: async () => {},
  };
  const warm = createWarmConversations({
    history,
    prewarmer,
    clock,
    contextTokensMax: () => 4_096,
    traceparent: () => "",
    onWarmed: () => {},
  });
  return { ...world, world, warm };
}

function aRequest(conversation: string, body: Record<string, unknown> = {}): TurnRequest {
  return {
    conversationId: conversation as ConversationId,
    tenant: "acme",
    jurisdiction: "eu",
    affinity: { homeShard: null, key: `key_${conversation}` },
    rendering: { api: "chat", echo: {} },
    engine: {
      path: "chat/completions",
      model: "m",
      body: { messages: [{ role: "user", content: "secret words" }], ...body },
      promptTokensEstimate: 3,
      completionTokensMax: null,
    },
  } as unknown as TurnRequest;
}

function anOutcome(more: Partial<TurnOutcome> = {}): TurnOutcome {
  return { status: "completed", shard, ...more } as TurnOutcome;
}

const always = (): boolean => true;

describe("the conversations that are warm on a shard", () => {
  it("go ahead of their next turn, latest first, with its tools and its key", async ({
    expect,
  }) => {
    const { asked, warm } = aWorld();
    warm.ended(aRequest("a"), anOutcome());
    warm.ended(aRequest("b", { tools: [{ type: "function" }] }), anOutcome());
    warm.ended(aRequest("elsewhere"), anOutcome({ shard: "eu-west-1a/s-1" as ShardId }));
    await warm.moveAhead(shard, always);
    expect(asked.map(({ conversationId }) => conversationId)).toEqual(["b", "a"]);
    expect(asked[0]).toMatchObject({
      shard: null,
      affinityKey: "key_b",
      body: { tools: [{ type: "function" }], messages: [{ role: "user", content: "hi" }] },
    });
  });

  it("wait for the destination's share, and are left alone when that takes too long", async ({
    expect,
  }) => {
    const { asked, warm, waitsMs } = aWorld([
      { kind: "limited", retryAfterMs: 700 },
      { kind: "limited", retryAfterMs: 900 },
      { kind: "warmed", shard: "b", promptTokens: 1, cachedTokens: 0 },
      { kind: "limited", retryAfterMs: 61_000 },
    ]);
    warm.ended(aRequest("a"), anOutcome());
    warm.ended(aRequest("b"), anOutcome());
    await warm.moveAhead(shard, always);
    expect(waitsMs).toEqual([700, 900]);
    expect(asked.map(({ conversationId }) => conversationId)).toEqual(["b", "b", "b", "a"]);
  });

  it("stay when the drain is taken back", async ({ expect }) => {
    const { asked, warm } = aWorld();
    warm.ended(aRequest("a"), anOutcome());
    await warm.moveAhead(shard, () => false);
    expect(asked).toEqual([]);
  });

  it("are forgotten ten minutes after their last turn", async ({ expect }) => {
    const { asked, warm, world } = aWorld();
    warm.ended(aRequest("a"), anOutcome());
    world.nowMs += 300_000;
    warm.ended(aRequest("b"), anOutcome());
    world.nowMs += 300_000;
    await warm.moveAhead(shard, always);
    expect(asked.map(({ conversationId }) => conversationId)).toEqual(["b"]);
  });

  it.for([
    ["a failed turn", aRequest("a"), anOutcome({ status: "failed" })],
    ["a turn without shard", aRequest("a"), anOutcome({ shard: null })],
    ["a turn without conversation", { ...aRequest("a"), conversationId: null }, anOutcome()],
    [
      "a request of a size that is not kept",
      aRequest("a", { x: "y".repeat(262_144) }),
      anOutcome(),
    ],
  ] as const)("are not told by %s", async ([, request, outcome], { expect }) => {
    const { asked, warm } = aWorld();
    warm.ended(request, outcome);
    await warm.moveAhead(shard, always);
    expect(asked).toEqual([]);
  });

  it("are bounded: those that were quiet longest go first", async ({ expect }) => {
    const { asked, warm } = aWorld();
    for (let count = 0; count < 160; count += 1) {
      warm.ended(aRequest(`c${count}`, { x: "y".repeat(250_000) }), anOutcome());
    }
    await warm.moveAhead(shard, always);
    expect(asked.length).toBeLessThan(140);
    expect(asked.length).toBeGreaterThan(130);
    expect(asked[0]?.conversationId).toBe("c159");
  });
});
