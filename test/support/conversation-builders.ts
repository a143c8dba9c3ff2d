import { defaultConversationPolicy } from "#shared/conversation/policy.ts";
import type {
  BeginTurnInput,
  ConversationScope,
  TurnLease,
  TurnTemplate,
} from "#shared/conversation/rpc.ts";
import type { ConversationStore } from "#shared/conversation/store.ts";
import type { StepContext } from "#shared/conversation/step.ts";
import type { ItemRecord, TurnOutcome } from "#shared/protocol/internal/turn-outcome.ts";
import type {
  CellId,
  ConversationId,
  Jurisdiction,
  RegionId,
  ShardId,
  TenantId,
  TurnId,
} from "#shared/residency/brands.ts";

export const cellA = "eu-west-1a" as CellId;
export const cellB = "eu-central-1a" as CellId;

export function aScope(overrides: Partial<ConversationScope> = {}): ConversationScope {
  return {
    tenant: "acme" as TenantId,
    jurisdiction: "eu" as Jurisdiction,
    conversationId: "conv_eu_aaaaaaaa_0123456789abcdef_aaaaaaaaaaaaaaaaaaaaaa" as ConversationId,
    conversationRandom: "0123456789abcdef",
    requestId: "req_1",
    traceparent: "00-00000000000000000000000000000001-0000000000000001-01",
    ...overrides,
  };
}

/** The turn id whose random part is `turnRandom` (12 characters). */
export function turnIdOf(turnRandom: string): TurnId {
  return `turn_eu_aaaaaaaa_0123456789abcdef${turnRandom}_aaaaaaaaaaaaaaaaaaaaaa` as TurnId;
}

export function anItem(id: string, text = id): ItemRecord {
  const json = JSON.stringify({
    id,
    type: "message",
    role: "user",
    content: [{ type: "input_text", text }],
  });
  return { id, type: "message", json };
}

export function aTemplate(): TurnTemplate {
  return {
    engine: {
      path: "chat/completions",
      model: "sim/llama-3.1-8b-instruct",
      body: {},
      promptTokensEstimate: 10,
      completionTokensMax: null,
    },
    rendering: {
      api: "responses",
      stream: true,
      includeUsage: false,
      publicId: "resp_1",
      createdAtSeconds: 1,
      model: "sim/llama-3.1-8b-instruct",
      itemIdStem: "abc",
      echo: {},
    },
    priority: "interactive",
    affinityKey: "key",
  };
}

export function aTurn(turnRandom: string, overrides: Partial<BeginTurnInput> = {}): BeginTurnInput {
  return {
    scope: aScope(),
    turnId: turnIdOf(turnRandom),
    turnRandom,
    idempotency: null,
    mode: "create",
    parentTurnRandom: null,
    seedItems: [],
    newItems: [anItem(`msg_${turnRandom}`)],
    template: aTemplate(),
    isStored: true,
    streamsKeptMs: 86_400_000,
    isBackground: false,
    reservationId: null,
    deadlineMs: 600_000,
    cells: [cellA, cellB],
    ...overrides,
  };
}

export function anOutcome(lease: TurnLease, overrides: Partial<TurnOutcome> = {}): TurnOutcome {
  return {
    v: 1,
    turnId: lease.turnId,
    attempt: lease.attempt,
    status: "completed",
    error: null,
    cell: lease.cell,
    region: "eu-west-1" as RegionId,
    shard: `${lease.cell}/llama-0` as ShardId,
    rejected: [],
    usage: { promptTokens: 10, completionTokens: 5, cachedTokens: 0, reasoningTokens: 0 },
    finishReasons: ["stop"],
    items: [anItem(`ans_${lease.turnId}`)],
    body: '{"id":"resp_1"}',
    queueWaitMs: 0,
    mayMove: false,
    continuations: 0,
    ttftMs: 1,
    totalMs: 2,
    ...overrides,
  };
}

export function aContext(store: ConversationStore, nowMs = 1_000): StepContext {
  return { store, nowMs, policy: defaultConversationPolicy };
}
