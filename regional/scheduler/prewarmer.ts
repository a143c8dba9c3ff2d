import {
  defaultPrewarmPolicy,
  giveBackPrefill,
  measurePrefill,
  takePrefill,
} from "#shared/admission/prewarm-budget.ts";
import type { PrewarmBudget, PrewarmPolicy } from "#shared/admission/prewarm-budget.ts";
import { prefillBody } from "#shared/conversation/prefill-body.ts";
import type { TryResult } from "#shared/conversation/turn-events.ts";
import type { ShardFailure } from "#shared/conversation/turn-failure.ts";
import type { EngineEvent } from "#shared/protocol/engine-event.ts";
import type { PrewarmReply, PrewarmRequest } from "#shared/protocol/internal/prewarm.ts";
import type { TurnOutcome } from "#shared/protocol/internal/turn-outcome.ts";
import type { Usage } from "#shared/protocol/usage.ts";
import type { ShardId } from "#shared/residency/brands.ts";
import type { Clock } from "../ports/clock.ts";
import type { Engine } from "../ports/engine.ts";
import type { PromptKeys } from "./prompt-keys.ts";
import type { ShardBook } from "./shard-book.ts";
import type { ShardChoice } from "./shard-choice.ts";

/** Longest prefill that is waited for, ms; as long as a turn waits for its first token. */
const prefillTimeoutMs = 45_000;

/** Computes prefixes of conversations on shards that they will move to, within each shard's share for that. */
export interface Prewarmer {
  /** Never rejects; answers `limited` at once rather than wait. */
  warm(request: PrewarmRequest, traceparent: string): Promise<PrewarmReply>;
  /** Takes in what a turn tells of its shard's prefill. */
  measured(outcome: TurnOutcome): void;
}

export interface PrewarmerOptions {
  readonly book: ShardBook;
  readonly engines: ReadonlyMap<ShardId, Engine>;
  readonly clock: Clock;
  readonly policy?: PrewarmPolicy;
  readonly promptKeys: PromptKeys;
  /** A shard has a slot again. */
  readonly onReleased: () => void;
}

interface ShardPrefill {
  budget: PrewarmBudget | null;
  tokensPerSecond: number | null;
}

/** The prewarmer of one cell. */
export function createPrewarmer(options: PrewarmerOptions): Prewarmer {
  const { book, clock, engines, onReleased, policy = defaultPrewarmPolicy, promptKeys } = options;
  const shards = new Map<ShardId, ShardPrefill>();

  function prefillOf(shard: ShardId): ShardPrefill {
    const known = shards.get(shard);
    if (known !== undefined) return known;
    const fresh: ShardPrefill = { budget: null, tokensPerSecond: null };
    shards.set(shard, fresh);
    return fresh;
  }

  function choose(request: PrewarmRequest): ShardChoice {
    const { affinityKey, body, conversationId, jurisdiction, model, promptTokensEstimate } =
      request;
    const { shard, tenant } = request;
    return book.choose(
      {
        model,
        homeShard: null,
        affinityKey,
        excluded: [],
        priority: "batch",
        promptTokensEstimate,
        deadlineMs: clock.nowMs() + prefillTimeoutMs,
        tenant,
        conversationId,
        promptKeys: promptKeys({ tenant, jurisdiction, model, path: "chat/completions", body }),
        path: "chat/completions",
        completionTokensMax: 1,
        ...(shard === null ? {} : { onlyShard: shard as ShardId }),
      },
      clock.nowMs(),
    );
  }

  async function prefill(
    engine: Engine,
    request: PrewarmRequest,
    traceparent: string,
  ): Promise<Usage | ShardFailure> {
    const heard: EngineEvent[] = [];
    const { jurisdiction, requestId, tenant } = request;
    const failure = await engine.run(
      {
        path: "chat/completions",
        body: prefillBody(request.body),
        tenant,
        jurisdiction,
        affinityKey: request.affinityKey,
        priority: "batch",
        requestId,
        traceparent,
      },
      { events: (events) => void heard.push(...events), document: () => {}, room: () => null },
      AbortSignal.timeout(prefillTimeoutMs),
    );
    if (failure !== null) return failure;
    const invalid = heard.find((event) => event.kind === "invalid");
    if (invalid !== undefined) return { reason: "invalid", detail: invalid.reason };
    const usage = heard.find((event) => event.kind === "usage");
    return usage?.usage ?? { reason: "invalid", detail: "empty" };
  }

  return {
    async warm(request, traceparent) {
      const choice = choose(request);
      if (choice.kind === "none") {
        const named = choice.rejected.find(({ id }) => id === request.shard);
        return { kind: "unavailable", reason: named?.reason ?? choice.reason };
      }
      const { shard } = choice;
      const engine = engines.get(shard);
      if (engine === undefined) return { kind: "unavailable", reason: "noShard" };
      const own = prefillOf(shard);
      const taken = takePrefill(
        own.budget,
        request.promptTokensEstimate,
        own.tokensPerSecond ?? policy.prefillTokensPerSecondDefault,
        clock.nowMs(),
        policy,
      );
      if (taken.kind === "wait") return { kind: "limited", retryAfterMs: taken.waitMs };
      own.budget = taken.budget;
      // Chosen and counted in one step: no await stands between.
      const dispatch = book.begin(choice, clock.nowMs());
      const found = await prefill(engine, request, traceparent);
      const result: TryResult =
        "reason" in found ? { kind: "failed", failure: found } : { kind: "succeeded" };
      const prompt =
        "reason" in found ? null : { tokens: found.promptTokens, cachedTokens: found.cachedTokens };
      book.end(dispatch, result, { tokens: 1, prompt }, clock.nowMs());
      onReleased();
      if ("reason" in found) return { kind: "unavailable", reason: found.reason };
      const { cachedTokens, promptTokens } = found;
      if (own.budget !== null) own.budget = giveBackPrefill(own.budget, cachedTokens);
      return { kind: "warmed", shard, promptTokens, cachedTokens };
    },
    measured({ continuations, shard, ttftMs, usage }) {
      if (shard === null || ttftMs === null || continuations > 0) return;
      const own = prefillOf(shard);
      const uncachedTokens = usage.promptTokens - usage.cachedTokens;
      own.tokensPerSecond = measurePrefill(own.tokensPerSecond, { uncachedTokens, ttftMs }, policy);
    },
  };
}
