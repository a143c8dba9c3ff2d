import { stepBreaker, viewAt } from "#shared/breaker/breaker.ts";
import { withProbe, withProofOfLife } from "#shared/breaker/life-signs.ts";
import type { LifeSigns } from "#shared/breaker/life-signs.ts";
import { verdictOf } from "#shared/breaker/try-verdict.ts";
import type { BreakerEvent } from "#shared/breaker/breaker.ts";
import type { BreakerPolicy } from "#shared/breaker/breaker-policy.ts";
import type { BreakerState } from "#shared/breaker/breaker-state.ts";
import type { ShardDescription } from "#shared/config/topology.ts";
import type { TryResult } from "#shared/conversation/turn-events.ts";
import { invariant } from "#shared/errors/invariant.ts";
import type { Jurisdiction, ShardId } from "#shared/residency/brands.ts";
import { failureSeconds, observeTtft } from "#shared/routing/error-ratio.ts";
import { saturationOf } from "#shared/routing/filter-shard.ts";
import type { EngineLoad } from "#shared/routing/engine-load.ts";
import { noteLoad } from "#shared/routing/foreign-load.ts";
import type { OwnCounters } from "#shared/routing/foreign-load.ts";
import { observeTokens } from "#shared/routing/held-tokens.ts";
import { chargeMove } from "#shared/routing/move-budget.ts";
import type { Spill } from "#shared/routing/next-home.ts";
import { learnSpeed } from "#shared/routing/learn-speed.ts";
import { selectShard } from "#shared/routing/score-shard.ts";
import type { Selection, SelectionInput } from "#shared/routing/score-shard.ts";
import { defaultSelectionPolicy, selectionPolicyAt } from "#shared/routing/selection-policy.ts";
import { uncachedTokens, workOf } from "#shared/routing/shard-state.ts";
import type { PromptDemand, ShardSpeed } from "#shared/routing/shard-state.ts";
import type { LifecycleView } from "#shared/warming/shard-lifecycle.ts";
import { answerEndOf } from "#shared/health/answer-end.ts";
import type { ShardHealth } from "#shared/health/shard-health.ts";
import type { ShardLives } from "../warming/shard-lives.ts";
import type { ProbeResult } from "../ports/engine.ts";
import { basicTtft, spillOf, startOf, withLoad } from "./book-decisions.ts";
import { createActiveConversations } from "./active-conversations.ts";
import { createAnswerLengths } from "./answer-lengths.ts";
import { createHomeMemory } from "./home-memory.ts";
import { createModelShards } from "./model-shards.ts";
import type { ModelShards } from "./model-shards.ts";
import type { SlotRequest } from "./scheduler.ts";
import type { AnswerSeen, ChosenDemand, PredictedTimes, ShardChoice } from "./shard-choice.ts";
import { createShardEntry, stateOf } from "./shard-entry.ts";
import type { ShardEntry } from "./shard-entry.ts";

/** How long a shard that said 429 without a wait counts as full, and the longest wait that is believed, ms. */
const saturatedMsDefault = 500;
const saturatedMsMax = 5_000;

/** A shard as metrics, readiness and health hints show it. */
export interface ShardStatus {
  readonly id: ShardId;
  readonly model: string;
  readonly breaker: BreakerState["kind"];
  /** 0..1. */
  readonly weight: number;
  readonly inFlight: number;
  readonly concurrentRequestsMax: number;
  /** Estimated prompt tokens of the turns in flight. */
  readonly promptTokens: number;
  /** How full it is, 1 is full: the worst of slots, KV memory and prefill in front. */
  readonly saturation: number;
  /** Uncached prompt tokens that were sent and whose first token is not there yet. */
  readonly pendingPrefillTokens: number;
  /** Share of its KV memory that running requests hold or will hold. */
  readonly kvShare: number;
  /** Work in flight, tokens: uncached input + 2 × expected output. */
  readonly workTokens: number;
  readonly isDraining: boolean;
  /** Whether its last sign was one of life. */
  readonly isAlive: boolean;
  /** Whether it runs. */
  readonly life: LifecycleView;
  /** Whether a prompt may go there now, when it has room. */
  readonly isUsable: boolean;
}

/** One dispatch as it was counted; only the book reads it. */
export interface Dispatch {
  readonly shard: ShardId;
  /** The breaker's fence for its end. */
  readonly trips: number;
  readonly demand: ChosenDemand;
  readonly beganAtMs: number;
  /** Uncached tokens up to its own last one, when it was sent. */
  readonly prefillTokens: number;
  /** When its prefill was over; null before. */
  firstTokenAtMs: number | null;
}

/** The counters of a cell's shards: exact, because all dispatches go through here. Everything is synchronous. */
export interface ShardBook {
  /** `ceiling`: saturation from which on a shard that is not idle takes no more of this class now; its usual one by default. */
  choose(request: SlotRequest, nowMs: number, ceiling?: number): ShardChoice;
  /** Work of a prompt on the shard that holds most of it, tokens > 0: uncached input + 2 × the answer to expect. */
  workOf(request: SlotRequest, nowMs: number): number;
  /**
   * What the shards are predicted to do with a prompt once only `loadShare` (0..1) of their present load is left; null where
   * none may take it. Chooses nothing.
   */
  foresee(request: SlotRequest, loadShare: number, nowMs: number): PredictedTimes | null;
  /** Counts a dispatch; call in the same step as `choose`. */
  begin(choice: ShardChoice & { readonly kind: "chosen" }, nowMs: number): Dispatch;
  /** The first token is there: the prefill is no longer in front of others. Repeatable. */
  firstToken(dispatch: Dispatch, nowMs: number): void;
  end(dispatch: Dispatch, result: TryResult, seen: AnswerSeen, nowMs: number): void;
  /** How fast one replica of the shard works, as its answers showed. */
  speedOf(shard: ShardId): ShardSpeed;
  /** The cell's own counters of a shard. */
  ownOf(shard: ShardId): OwnCounters;
  /** The shard's engine told its load, while the cell had `own` on it; null: it tells none (any more). */
  reported(shard: ShardId, load: EngineLoad | null, own: OwnCounters, nowMs: number): void;
  probed(shard: ShardId, result: ProbeResult, nowMs: number): void;
  /** The shard has answered a synthetic prompt: if its breaker is open, it need not be for long. */
  canaried(shard: ShardId, nowMs: number): void;
  /** Takes the shard out of every choice, or puts it back; what runs on it goes on. */
  setDraining(shard: ShardId, isDraining: boolean, nowMs: number): void;
  /** Turns in flight on all shards of a model. */
  runningOf(model: string): number;
  /** The shard's engine was started again, with an empty cache. */
  restarted(shard: ShardId): void;
  statuses(nowMs: number): readonly ShardStatus[];
}

export interface ShardBookOptions {
  readonly shards: readonly ShardDescription[];
  readonly jurisdiction: Jurisdiction;
  readonly contextTokensMax: (model: string) => number;
  readonly random: () => number;
  readonly policy: BreakerPolicy;
  /** When the cell's process began, ms: for some seconds it uses its shards in part. Left out: it is the first. */
  readonly startedAtMs?: number;
  /** Degradation level of the cell; 0 by default. */
  readonly level?: () => number;
  /** Whether a tenant's prompts must keep to its own set, because one of them broke a shard; none by default. */
  readonly isConfined?: (tenant: string) => boolean;
  /** What answers say of their shards; none: all are whole. */
  readonly health?: Pick<ShardHealth, "weightOf" | "answered">;
  /** Which shards run; none: all do. */
  readonly lives?: Pick<ShardLives, "note" | "view">;
}

const alwaysReady: LifecycleView = { lifecycle: "ready", reason: "assumedReady", readyInMs: 0 };

/** The book of one cell. */
export function createShardBook(options: ShardBookOptions): ShardBook {
  const { contextTokensMax, health, jurisdiction, lives, policy, random } = options;
  const { isConfined = () => false, level = () => 0 } = options;
  const lengths = createAnswerLengths();
  const homes = createHomeMemory();
  const active = createActiveConversations();
  const groups = new Map<string, ModelShards>();
  for (const model of new Set(options.shards.map((shard) => shard.model))) {
    const own = options.shards.filter((shard) => shard.model === model);
    groups.set(
      model,
      createModelShards(own.map(createShardEntry), {
        jurisdiction,
        policy,
        startedAtMs: options.startedAtMs ?? null,
        contextTokensMax: contextTokensMax(model),
        healthOf: (shard) => health?.weightOf(shard) ?? 1,
        lifeOf: (shard, nowMs) => lives?.view(shard, false, nowMs) ?? alwaysReady,
      }),
    );
  }
  // In the topology's order.
  const entries = new Map<ShardId, ShardEntry>();
  for (const { id, model } of options.shards) {
    const entry = groups.get(model)?.entries.find(({ description }) => description.id === id);
    if (entry !== undefined) entries.set(id, entry);
  }

  function entryOf(id: ShardId): ShardEntry {
    const entry = entries.get(id);
    invariant(entry !== undefined, "a shard of this cell");
    return entry;
  }

  function groupOf(model: string): ModelShards {
    const group = groups.get(model);
    invariant(group !== undefined, "a model of this cell");
    return group;
  }

  function step(entry: ShardEntry, event: BreakerEvent, nowMs: number): void {
    const { state } = stepBreaker(entry.breaker, event, nowMs, random, policy);
    moveBreaker(entry, state);
  }

  function moveBreaker(entry: ShardEntry, breaker: BreakerState): void {
    const wasOpen = entry.breaker.kind === "open";
    entry.breaker = breaker;
    // A shard that failed this often was most likely started again, with an empty cache.
    if (breaker.kind === "open" && !wasOpen) groupOf(entry.description.model).forget(entry);
  }

  function noteLife(entry: ShardEntry, { breaker, isAlive, wasGone }: LifeSigns): void {
    entry.isAlive = isAlive;
    entry.wasGone = wasGone;
    moveBreaker(entry, breaker);
  }

  function statusOf(entry: ShardEntry, nowMs: number): ShardStatus {
    const { breaker, description, isAlive, isDraining, own } = entry;
    const state = stateOf(entry, groupOf(description.model).surroundings, nowMs);
    const isBroken = viewAt(breaker, nowMs).kind === "open";
    return {
      id: description.id,
      model: description.model,
      breaker: viewAt(breaker, nowMs).kind,
      weight: state.weight,
      inFlight: own.inFlight,
      concurrentRequestsMax: description.concurrentRequestsMax,
      promptTokens: own.promptTokens,
      saturation: saturationOf(state, defaultSelectionPolicy.ttftSloSeconds.interactive),
      pendingPrefillTokens: state.pendingPrefillTokens,
      kvShare: state.kvTokens / state.kvTokensMax,
      workTokens: state.workTokens,
      isDraining,
      isAlive,
      life: lives?.view(description.id, isBroken, nowMs) ?? alwaysReady,
      isUsable: state.isAdmitting && isAlive && !state.isDraining && (state.readyInMs ?? 0) === 0,
    };
  }

  function releasePrefill(dispatch: Dispatch, nowMs: number): void {
    if (dispatch.firstTokenAtMs !== null) return;
    dispatch.firstTokenAtMs = nowMs;
    const { own } = entryOf(dispatch.shard);
    own.pendingPrefillTokens -= dispatch.demand.uncachedTokens;
  }

  function noteTtft(dispatch: Dispatch, seconds: number, nowMs: number): void {
    const entry = entryOf(dispatch.shard);
    entry.ratio = observeTtft(entry.ratio, seconds, dispatch.demand.basicTtftSeconds, nowMs);
  }

  function learn(entry: ShardEntry, dispatch: Dispatch, seen: AnswerSeen, nowMs: number): void {
    const { beganAtMs, demand, firstTokenAtMs, prefillTokens } = dispatch;
    const { answerKind, conversationId, inputTokens, uncachedTokens: expected } = demand;
    if (firstTokenAtMs === null) return;
    lengths.observe(answerKind, seen.tokens);
    const tokens = (seen.prompt?.tokens ?? inputTokens) + seen.tokens;
    const record = { shard: dispatch.shard, tokens, atMs: nowMs };
    if (conversationId !== null) {
      homes.note(conversationId, record);
      active.note(conversationId, dispatch.shard, nowMs);
    }
    const uncached =
      seen.prompt === null ? expected : seen.prompt.tokens - seen.prompt.cachedTokens;
    entry.speed = learnSpeed(entry.speed, {
      prefillTokens: prefillTokens - expected + uncached,
      ttftSeconds: (firstTokenAtMs - beganAtMs) / 1_000,
      outputTokens: seen.tokens,
      decodeSeconds: (nowMs - firstTokenAtMs) / 1_000,
      batch: entry.own.inFlight,
      kvTokens: entry.own.kvTokens,
      replicas: 1,
    });
  }

  /** What a spill away from `home` counts as: not too many of a home's conversations move at once. */
  function charge(home: ShardId, spill: "once" | "pays", nowMs: number): Spill {
    const entry = entryOf(home);
    const charged = chargeMove(entry.moves, spill, active.on(home, nowMs), nowMs);
    entry.moves = charged.budget;
    return charged.spill;
  }

  /** The tenant's own set first; others only while that one has no room, is ill, or was tried in vain. */
  function select(
    input: SelectionInput,
    mayOverflow: boolean,
  ): { readonly selection: Selection; readonly isOverflow: boolean } {
    const selectionPolicy = selectionPolicyAt(level());
    const selection = selectShard(input, random, selectionPolicy);
    if (selection.kind === "chosen" || !mayOverflow) return { selection, isOverflow: false };
    const prompt = { ...input.prompt, allowed: null };
    const wider = selectShard({ ...input, prompt }, random, selectionPolicy);
    return { selection: wider, isOverflow: wider.kind === "chosen" };
  }

  /** What `request` wants of the shards of its model, and what each of them is thought to hold of it. */
  function demandOf(request: SlotRequest, group: ModelShards, nowMs: number) {
    const { conversationId, model, onlyShard, path, priority, promptKeys, tenant } = request;
    const { contextTokensMax: contextMax } = group.surroundings;
    const answerKind = { tenant, path, model };
    const length = lengths.expect(answerKind, request.completionTokensMax);
    // No shard computes more than its context: a prompt that is longer is refused by the engine, which knows its tokens.
    const inputTokens = Math.min(Math.max(1, request.promptTokensEstimate), contextMax);
    const home = conversationId === null ? null : homes.find(conversationId);
    const { cachedTokens, homeShard } = group.cached(
      { inputTokens, promptKeys, homeShard: request.homeShard, home },
      nowMs,
    );
    const prompt: PromptDemand = {
      jurisdiction,
      model,
      inputTokens,
      outputTokens: Math.min(length.expected, contextMax - inputTokens),
      priority,
      homeShard,
      affinityKey: request.affinityKey,
      excluded: request.isPatient === true ? group.inDoubt(nowMs) : request.excluded,
      allowed:
        onlyShard === undefined ? group.setOf(tenant, priority, homeShard) : new Set([onlyShard]),
    };
    return { answerKind, cachedTokens, home, length, prompt };
  }

  return {
    choose(request, nowMs, ceiling) {
      const { conversationId, model, onlyShard, promptKeys } = request;
      const group = groups.get(model);
      if (group === undefined) return { kind: "none", reason: "noShard", rejected: [] };
      const {
        answerKind,
        cachedTokens,
        home,
        length,
        prompt: wish,
      } = demandOf(request, group, nowMs);
      const prompt = ceiling === undefined ? wish : { ...wish, ceiling };
      const { inputTokens } = prompt;
      const input = { candidates: group.states(nowMs), cachedTokens, prompt };
      const mayOverflow =
        onlyShard === undefined && prompt.allowed !== null && !isConfined(request.tenant);
      const { isOverflow, selection } = select(input, mayOverflow);
      if (selection.kind === "none") return { ...selection, ...startOf(input, selection) };
      const { chosen, reason, rejected, runnersUp } = selection;
      const entry = entryOf(chosen.id);
      const cached = cachedTokens[chosen.index] ?? 0;
      const uncached = uncachedTokens(prompt, cached);
      // What a conversation has on its home is its own; what others find there they share.
      const isHome = home?.shard === chosen.id;
      return {
        kind: "chosen",
        shard: chosen.id,
        reason: isOverflow ? "overflow" : reason,
        spill:
          reason === "spill" && prompt.homeShard !== null
            ? charge(prompt.homeShard, spillOf(selection, prompt, cached, entry.speed), nowMs)
            : null,
        score: chosen.score,
        predicted: {
          ttftSeconds: chosen.prediction.ttftSeconds,
          interTokenSeconds: chosen.prediction.itlSeconds,
          outputTokens: length.expected,
          outputTokensP90: length.p90,
        },
        demand: {
          answerKind,
          inputTokens,
          uncachedTokens: uncached,
          outputTokens: prompt.outputTokens,
          // Without the correction that it is to improve.
          basicTtftSeconds: basicTtft(group, entry, prompt, cached, nowMs),
          workTokens: workOf(prompt, cached),
          kvTokens: (isHome ? inputTokens : uncached) + prompt.outputTokens,
          promptKeys,
          conversationId,
        },
        runnersUp,
        rejected,
      };
    },
    foresee(request, loadShare, nowMs) {
      const group = groups.get(request.model);
      if (group === undefined) return null;
      const { cachedTokens, length, prompt } = demandOf(request, group, nowMs);
      const candidates = group.states(nowMs).map((state) => withLoad(state, loadShare));
      const unbounded = { ...prompt, allowed: null, ceiling: Infinity };
      const input = { candidates, cachedTokens, prompt: unbounded };
      // The lot decides near-ties only: their predictions are alike.
      const selection = selectShard(input, () => 0, defaultSelectionPolicy);
      if (selection.kind === "none") return null;
      const { itlSeconds, ttftSeconds } = selection.chosen.prediction;
      return {
        ttftSeconds,
        interTokenSeconds: itlSeconds,
        outputTokens: length.expected,
        outputTokensP90: length.p90,
      };
    },
    workOf(request, nowMs) {
      const group = groups.get(request.model);
      if (group === undefined) return 1;
      const { cachedTokens, prompt } = demandOf(request, group, nowMs);
      let cached = 0;
      for (let index = 0; index < cachedTokens.length; index += 1) {
        cached = Math.max(cached, cachedTokens[index] ?? 0);
      }
      return workOf(prompt, cached);
    },
    begin({ demand, shard }, nowMs) {
      const entry = entryOf(shard);
      const { own } = entry;
      own.inFlight += 1;
      own.promptTokens += demand.inputTokens;
      own.pendingPrefillTokens += demand.uncachedTokens;
      own.kvTokens += demand.kvTokens;
      own.workTokens += demand.workTokens;
      entry.tokenRate = observeTokens(
        entry.tokenRate,
        demand.uncachedTokens + demand.outputTokens,
        nowMs,
      );
      groupOf(entry.description.model).sent(entry, demand.promptKeys);
      lives?.note(shard, { kind: "sent" }, nowMs);
      step(entry, { kind: "dispatch" }, nowMs);
      return {
        shard,
        trips: entry.breaker.trips,
        demand,
        beganAtMs: nowMs,
        prefillTokens: own.pendingPrefillTokens,
        firstTokenAtMs: null,
      };
    },
    firstToken(dispatch, nowMs) {
      if (dispatch.firstTokenAtMs !== null) return;
      lives?.note(dispatch.shard, { kind: "spoke" }, nowMs);
      releasePrefill(dispatch, nowMs);
      noteTtft(dispatch, (nowMs - dispatch.beganAtMs) / 1_000, nowMs);
    },
    end(dispatch, result, seen, nowMs) {
      const { demand, shard, trips } = dispatch;
      const entry = entryOf(shard);
      const { own } = entry;
      const kind = verdictOf(result);
      const isUnanswered = dispatch.firstTokenAtMs === null;
      if (isUnanswered && kind === "success") lives?.note(shard, { kind: "spoke" }, nowMs);
      if (result.kind === "failed" && result.failure.reason === "cold") {
        lives?.note(shard, { kind: "foundCold" }, nowMs);
      }
      lives?.note(shard, { kind: "ended" }, nowMs);
      releasePrefill(dispatch, nowMs);
      if (isUnanswered && kind !== "release") {
        const seconds = (nowMs - dispatch.beganAtMs) / 1_000;
        // A shard that fails fast would otherwise look quick and draw all prompts.
        noteTtft(dispatch, kind === "success" ? seconds : failureSeconds, nowMs);
      }
      if (kind === "success") learn(entry, dispatch, seen, nowMs);
      const { firstTokenAtMs } = dispatch;
      const answer = { ...seen, firstTokenAtMs: isUnanswered ? null : firstTokenAtMs };
      if (kind !== "release") {
        const batch = own.inFlight;
        health?.answered(shard, answerEndOf(result, { ...answer, batch }, nowMs), nowMs);
      }
      own.inFlight -= 1;
      own.promptTokens -= demand.inputTokens;
      own.kvTokens -= demand.kvTokens;
      own.workTokens -= demand.workTokens;
      step(entry, { kind, trips }, nowMs);
      if (kind === "failure") entry.doubtedAtMs = nowMs;
      if (kind === "success") {
        entry.isAlive = true;
        entry.doubtedAtMs = null;
      }
      if (result.kind !== "failed") return;
      const { failure } = result;
      if (failure.reason === "saturated") {
        const waitMs = Math.min(saturatedMsMax, failure.retryAfterMs ?? saturatedMsDefault);
        entry.saturatedUntilMs = nowMs + waitMs;
      }
    },
    speedOf: (id) => entryOf(id).speed,
    ownOf(id) {
      const { inFlight, kvTokens } = entryOf(id).own;
      return { inFlight, kvTokens };
    },
    reported(id, load, own, nowMs) {
      const entry = entryOf(id);
      entry.foreign =
        load === null ? null : noteLoad(entry.foreign, load, own, entry.description, nowMs);
    },
    probed(id, result, nowMs) {
      const entry = entryOf(id);
      if (result.ok) entry.doubtedAtMs = null;
      noteLife(entry, withProbe(entry, result.ok, nowMs, random, policy));
    },
    canaried(id, nowMs) {
      const entry = entryOf(id);
      entry.doubtedAtMs = null;
      noteLife(entry, withProofOfLife(entry, nowMs, random, policy));
    },
    setDraining(id, isDraining, nowMs) {
      entryOf(id).isDraining = isDraining;
      lives?.note(id, { kind: "drain", isDraining }, nowMs);
    },
    runningOf: (model) =>
      (groups.get(model)?.entries ?? []).reduce((sum, { own }) => sum + own.inFlight, 0),
    restarted(id) {
      const entry = entryOf(id);
      groupOf(entry.description.model).forget(entry);
    },
    statuses: (nowMs) => [...entries.values()].map((entry) => statusOf(entry, nowMs)),
  };
}
