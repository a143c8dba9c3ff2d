import type { BodyTemplate } from "#shared/conversation/compose-turn.ts";
import { composeEngineBody } from "#shared/conversation/compose-turn.ts";
import type { HistoryStore } from "#shared/protocol/internal/history.ts";
import type { TurnOutcome } from "#shared/protocol/internal/turn-outcome.ts";
import type { TurnRequest } from "#shared/protocol/internal/turn-request.ts";
import type { ConversationId, ShardId } from "#shared/residency/brands.ts";
import type { Clock } from "../ports/clock.ts";
import type { Prewarmer } from "./prewarmer.ts";

/** A conversation is warm for this long after a turn, ms: about as long as an engine that is busy keeps its prefix. */
const warmMs = 600_000;
/** Conversations that are remembered; past it the one that was quiet longest goes. */
const conversationsMax = 5_000;
/** Characters of what is remembered of all of them, and of one: tools and instructions may be as long as a request. */
const charactersMax = 32 * 1024 * 1024;
const charactersOfOneMax = 256 * 1024;
/** Items of a conversation that are read; a longer one is computed on its next turn. */
const itemsMax = 4_096;
const readTimeoutMs = 5_000;
/** Longest wait for a shard's share before a conversation is left to its next turn, ms. */
const limitedMsMax = 60_000;

interface WarmConversation {
  readonly shard: ShardId;
  readonly tenant: TurnRequest["tenant"];
  readonly jurisdiction: TurnRequest["jurisdiction"];
  readonly conversationId: ConversationId;
  readonly model: string;
  readonly affinityKey: string;
  readonly template: BodyTemplate;
  readonly characters: number;
  readonly atMs: number;
}

/** Conversations whose prefix lies in the cache of a shard, and their way to another one when it is drained. */
export interface WarmConversations {
  ended(request: TurnRequest, outcome: TurnOutcome): void;
  /** An erased conversation, or one that left, is forgotten at once. */
  forget(conversationId: ConversationId): void;
  /**
   * Has the prefixes of the conversations of `shard` computed where their next turn will go, latest first, one at a time,
   * as fast as the destinations' share allows. Best effort: what is not warmed is computed on the next turn. Ends early
   * when `isWanted` says no.
   */
  moveAhead(shard: ShardId, isWanted: () => boolean): Promise<void>;
}

export interface WarmConversationsOptions {
  readonly history: HistoryStore;
  readonly prewarmer: Prewarmer;
  readonly clock: Clock;
  readonly contextTokensMax: (model: string) => number;
  readonly traceparent: () => string;
  readonly onWarmed: (shard: string, cachedTokens: number, promptTokens: number) => void;
}

/** Those of one cell. Keeps no messages: they are read from the region's database when they are needed. */
export function createWarmConversations(options: WarmConversationsOptions): WarmConversations {
  const { clock, contextTokensMax, history, onWarmed, prewarmer, traceparent } = options;
  const known = new Map<ConversationId, WarmConversation>();

  let characters = 0;

  function forget(id: ConversationId): void {
    characters -= known.get(id)?.characters ?? 0;
    known.delete(id);
  }

  function forgetCold(): void {
    const nowMs = clock.nowMs();
    for (const [id, { atMs }] of known) {
      const isRoom = known.size <= conversationsMax && characters <= charactersMax;
      if (isRoom && nowMs - atMs < warmMs) return;
      forget(id);
    }
  }

  async function warm(conversation: WarmConversation, isWanted: () => boolean): Promise<void> {
    const { affinityKey, conversationId, jurisdiction, model, template, tenant } = conversation;
    const deadlineMs = clock.nowMs() + readTimeoutMs;
    const items = await history.read(tenant, conversationId, 0, itemsMax, deadlineMs);
    if (items === "unavailable" || items.length === 0 || items.length === itemsMax) return;
    const engine = composeEngineBody(template, items, {
      contextTokensMax: contextTokensMax(model),
    });
    if (!engine.ok) return;
    const endMs = clock.nowMs() + limitedMsMax;
    while (isWanted() && known.get(conversationId) === conversation) {
      const reply = await prewarmer.warm(
        {
          v: 1,
          tenant,
          jurisdiction,
          conversationId,
          model,
          shard: null,
          affinityKey,
          body: engine.body,
          promptTokensEstimate: engine.promptTokensEstimate,
          requestId: `prewarm_${conversationId}`,
        },
        traceparent(),
      );
      if (reply.kind === "warmed")
        return onWarmed(reply.shard, reply.cachedTokens, reply.promptTokens);
      if (reply.kind !== "limited" || clock.nowMs() + reply.retryAfterMs > endMs) return;
      await new Promise<void>((resolve) => {
        clock.after(reply.retryAfterMs, resolve);
      });
    }
  }

  return {
    ended(request, outcome) {
      const { affinity, conversationId, engine, jurisdiction, rendering, tenant } = request;
      const isWhole = outcome.status === "completed" || outcome.status === "incomplete";
      if (conversationId === null || outcome.shard === null || !isWhole) return;
      if (engine.path !== "chat/completions") return;
      const { messages: _messages, ...body } = engine.body;
      // Deleted first, so that the map's order is that of the last turns.
      forget(conversationId);
      const { echo } = rendering;
      const size = JSON.stringify([body, echo]).length;
      if (size > charactersOfOneMax) return;
      characters += size;
      known.set(conversationId, {
        shard: outcome.shard,
        tenant,
        jurisdiction,
        conversationId,
        model: engine.model,
        affinityKey: affinity.key,
        template: {
          engine: {
            body,
            promptTokensEstimate: engine.promptTokensEstimate,
            completionTokensMax: engine.completionTokensMax,
          },
          rendering: { api: rendering.api, echo },
        },
        characters: size,
        atMs: clock.nowMs(),
      });
      forgetCold();
    },
    forget,
    async moveAhead(shard, isWanted) {
      forgetCold();
      const own = [...known.values()].filter((one) => one.shard === shard).toReversed();
      for (const conversation of own) {
        if (!isWanted()) return;
        // It may have had a turn elsewhere meanwhile.
        if (known.get(conversation.conversationId) === conversation) {
          await warm(conversation, isWanted);
        }
      }
    },
  };
}
