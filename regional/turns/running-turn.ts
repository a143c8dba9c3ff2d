import { isLaterTurn } from "#shared/admission/later-turn.ts";
import { surplusTokensOf } from "#shared/conversation/answer-so-far.ts";
import { choicesOf } from "#shared/conversation/turn-choices.ts";
import type { TurnEffect, TurnEvent } from "#shared/conversation/turn-events.ts";
import { divergedError } from "#shared/conversation/turn-failure.ts";
import type { TurnPolicy } from "#shared/conversation/turn-policy.ts";
import { createTurnRendering } from "#shared/conversation/turn-rendering.ts";
import type { TurnEnding } from "#shared/conversation/turn-rendering.ts";
import { stepTurn } from "#shared/conversation/turn-runner.ts";
import { initialTurnState, resumedTurnState } from "#shared/conversation/turn-state.ts";
import type { TurnState } from "#shared/conversation/turn-state.ts";
import type { ErrorOutcome } from "#shared/errors/gateway-error.ts";
import { repeatedShareOf } from "#shared/health/answer-quality.ts";
import type { TurnEncoder } from "#shared/protocol/encoder.ts";
import type { ClientFrame } from "#shared/protocol/internal/stream.ts";
import type { Rendering, TurnRequest, TurnResume } from "#shared/protocol/internal/turn-request.ts";
import { readDelivered } from "#shared/protocol/resume/read-delivered.ts";
import type { CellId, RegionId, ShardId } from "#shared/residency/brands.ts";
import type { Spill } from "#shared/routing/next-home.ts";
import type { Clock } from "../ports/clock.ts";
import type { Engine, EngineSink } from "../ports/engine.ts";
import type { PoisonGuard } from "../health/poison-guard.ts";
import type { PromptKeys } from "../scheduler/prompt-keys.ts";
import type { AnswerSeen } from "../scheduler/shard-choice.ts";
import type { Scheduler, Slot, SlotRequest } from "../scheduler/scheduler.ts";
import type { FrameLog } from "./frame-log.ts";
import { hasBroken, tokensSaid } from "./try-signs.ts";
import type { TurnGuards } from "./turn-guards.ts";
import type { TurnObserver } from "./turn-observer.ts";

/**
 * Unread bytes of a stateless stream from which on nothing more is read from the shard. A durable turn is never held up:
 * its frames are kept until they are acknowledged.
 */
const unreadBytesMax = 256 * 1024;

/** Which shard a turn asks for. */
type ShardWish = Pick<TurnEffect & { kind: "chooseShard" }, "excluded" | "isPatient">;

/** What a shard has given that was never asked for again. */
const nothingSeen: AnswerSeen = { tokens: 0, prompt: null };

/** What running a turn needs. */
export interface RunningTurnDeps {
  readonly cell: CellId;
  readonly region: RegionId;
  readonly scheduler: Scheduler;
  readonly engines: ReadonlyMap<ShardId, Engine>;
  readonly createEncoder: (rendering: Rendering, choices: number) => TurnEncoder;
  readonly contextTokensMax: (model: string) => number;
  readonly promptKeys: PromptKeys;
  readonly clock: Clock;
  readonly policy: TurnPolicy;
  readonly observer: TurnObserver;
  readonly guards: TurnGuards;
  readonly poison: Pick<PoisonGuard, "isQuarantined" | "suspect">;
}

/** One turn that this cell runs or ran. */
export interface RunningTurn {
  /** Without the prompt once the turn has ended. */
  readonly request: TurnRequest;
  readonly frames: FrameLog;
  /** Resolves when the head of an answer can be sent: the first piece is there, the turn has ended, or it waits for a cold shard. */
  begun(): Promise<void>;
  ended(): Promise<TurnEnding>;
  /** Null while it runs. */
  ending(): TurnEnding | null;
  /** Whether the shard had answered at all when the turn ended, or now. */
  hasBegun(): boolean;
  shard(): ShardId | null;
  /** While it waits for a shard to start: how long that was expected to take when it began to wait, ms; else null. */
  expectedWaitMs(): number | null;
  tick(): void;
  /** Gives the turn up; null when the client went. Nothing happens to one that has ended. */
  abort(error: ErrorOutcome | null): void;
  /** Ends the turn here, for another cell to go on with. */
  handOver(error: ErrorOutcome): void;
  /** Goes on with another shard if `shard` has it: that one is being drained. */
  leaveShard(shard: ShardId): void;
  /** Counts a reader; the returned function, called once, uncounts it. A stateless turn ends with its last reader. */
  attach(): () => void;
  readerCount(): number;
}

/** Starts `request` at once. `onLeft` is called when the last reader of a turn leaves that has ended. */
export function startTurn(
  begunWith: TurnRequest,
  traceparent: string,
  frames: FrameLog,
  deps: RunningTurnDeps,
  onLeft: () => void,
): RunningTurn {
  const { clock, guards, observer, policy } = deps;
  let request = begunWith;
  const rendering = createTurnRendering({ ...deps, request: begunWith });
  const isStateless = request.lane === "stateless";
  const isLater = isLaterTurn(begunWith);
  const begunSignal = Promise.withResolvers<void>();
  const endedSignal = Promise.withResolvers<TurnEnding>();
  const pending: TurnEvent[] = [];
  const conditions = guards.conditions(begunWith, () =>
    deps.scheduler.elsewhere(slotRequest(state.shard === null ? [] : [state.shard])),
  );
  let isStepping = false;
  let state: TurnState = initialTurnState();
  let ending: TurnEnding | null = null;
  /** Places of the dispatches that run, by their number: one, or two while a hedge runs. */
  const slots = new Map<number, Slot>();
  const controllers = new Map<number, AbortController>();
  /** The place that was chosen and not dispatched to yet. */
  let chosen: Slot | null = null;
  let keys: readonly number[] | null = null;
  let spill: Spill | null = null;
  let stopChoosing = (): void => {};
  let isPaused = false;
  let expectedWait: number | null = null;
  let readers = 0;
  /** Shards that broke off with this prompt: whether they died is being asked. */
  const suspected: Promise<void>[] = [];

  function feed(event: TurnEvent): void {
    pending.push(event);
    if (isStepping) return;
    isStepping = true;
    for (let next = pending.shift(); next !== undefined; next = pending.shift()) {
      const step = stepTurn(state, next, request, clock.nowMs(), policy, conditions);
      const { firstAtMs, dispatchedAtMs } = step.state.try;
      const hasSpoken = firstAtMs !== null && state.try.firstAtMs === null;
      state = step.state;
      if (hasSpoken) spoke(firstAtMs - dispatchedAtMs);
      if (step.reason === "firstToken") observer.firstToken(request, state);
      if (step.reason === "waiting" || step.reason === "waitedOut") observer.waits(request, step);
      for (const effect of step.effects) perform(effect);
      // The turn was given up while its place was chosen.
      if (next.kind === "shardChosen" && step.reason === "ignored") returnChosen();
    }
    isStepping = false;
  }

  function perform(effect: TurnEffect): void {
    switch (effect.kind) {
      case "chooseShard":
        return chooseAfter(effect.retryDelayMs, effect);
      case "chooseHedge":
        return chooseHedge(effect.excluded);
      case "returnHedge":
        return returnChosen();
      case "hedgeEnded":
        return guards.hedgeEnded(effect.result);
      case "stopChoosing":
        return stopChoosing();
      case "dispatch":
        return dispatch(effect);
      case "abortShard":
        return controllers.get(effect.try)?.abort();
      case "releaseShard":
        observer.tryEnded(request, effect.shard, effect.result);
        if (effect.result.kind === "succeeded" && state.usage === null) {
          observer.estimated(request, effect.shard);
          deps.engines.get(effect.shard)?.missedUsage?.();
        }
        if (hasBroken(effect.result)) suspected.push(deps.poison.suspect(request, effect.shard));
        slots
          .get(effect.try)
          ?.release(
            effect.result,
            effect.try === state.tries
              ? answerSeen(effect.result.kind === "succeeded")
              : nothingSeen,
          );
        slots.delete(effect.try);
        controllers.delete(effect.try);
        return;
      case "restartAnswer":
        return rendering.restart();
      case "seam":
        observer.continued(request, state);
        return frames.markSeam();
      case "deliver":
        deliver(effect);
        return begunSignal.resolve();
      case "finish":
      case "fail":
        return finish(effect);
    }
  }

  function returnChosen(): void {
    chosen?.release({ kind: "aborted" }, nothingSeen);
    chosen = null;
  }

  function spoke(ttftMs: number): void {
    const slot = slots.get(state.tries);
    if (slot === undefined) return;
    slot.firstToken();
    guards.spoke(slot, ttftMs);
  }

  function chooseAfter(delayMs: number | undefined, wish: ShardWish): void {
    if (delayMs === undefined) return choose(wish);
    guards.retried();
    stopChoosing = clock.after(delayMs, () => choose(wish));
  }

  /** A hedge takes what is free at once: waiting for it would be no hedge. */
  function chooseHedge(excluded: readonly ShardId[]): void {
    let isAnswered = false;
    const leave = deps.scheduler.acquire(slotRequest(excluded), (reply) => {
      isAnswered = true;
      if (reply.kind === "none") return feed({ kind: "noHedge" });
      chosen = reply.slot;
      feed({
        kind: "hedgeChosen",
        shard: reply.slot.shard,
        plan: guards.plan(request, reply.slot, false),
      });
    });
    if (isAnswered) return;
    leave();
    feed({ kind: "noHedge" });
  }

  function slotRequest(excluded: readonly ShardId[]): SlotRequest {
    return {
      model: request.engine.model,
      homeShard: request.affinity.homeShard,
      affinityKey: request.affinity.key,
      excluded,
      priority: request.priority,
      promptTokensEstimate: request.engine.promptTokensEstimate,
      deadlineMs: request.deadlineMs,
      tenant: request.tenant,
      conversationId: request.conversationId,
      promptKeys: ownKeys(),
      path: request.engine.path,
      completionTokensMax: request.engine.completionTokensMax,
      isLaterTurn: isLater,
      hasBegun: state.isBegun || request.resume !== null,
      mayMove: request.hop === 0,
      onColdWait(expectedMs) {
        expectedWait = expectedMs;
        begunSignal.resolve();
      },
    };
  }

  function choose(wish: ShardWish): void {
    // A prompt that may have ended two shards waits until it is known: a third is not risked for it.
    if (suspected.length < 2) return chooseNow(wish);
    let isStopped = false;
    stopChoosing = () => {
      isStopped = true;
    };
    void Promise.all(suspected).then(() => {
      if (!isStopped) chooseNow(wish);
    });
  }

  function chooseNow({ excluded, isPatient = false }: ShardWish): void {
    if (deps.poison.isQuarantined(request)) {
      return feed({ kind: "noShard", reason: "poisoned", rejected: [] });
    }
    stopChoosing = deps.scheduler.acquire({ ...slotRequest(excluded), isPatient }, (reply) => {
      observer.decided(request, reply);
      if (reply.kind === "none") return feed({ ...reply, kind: "noShard" });
      chosen = reply.slot;
      ({ spill } = reply.slot);
      const { rejected, queueWaitMs } = reply;
      const { shard } = reply.slot;
      const ability = deps.engines.get(shard)?.continuationAbility() ?? "none";
      const contextTokensMax = deps.contextTokensMax(request.engine.model);
      const isFirst = state.dispatches === 0 && !state.isBegun;
      if (isFirst) guards.dispatched(request);
      const plan = guards.plan(request, reply.slot, isFirst);
      feed({ kind: "shardChosen", shard, rejected, queueWaitMs, ability, contextTokensMax, plan });
    });
  }

  /** Of the turn's own prompt: read when it is first needed, and once. */
  function ownKeys(): readonly number[] {
    const { jurisdiction, tenant } = request;
    keys ??= deps.promptKeys({ ...request.engine, jurisdiction, tenant });
    return keys;
  }

  function answerSeen(isWhole: boolean): AnswerSeen {
    const { usage } = state;
    return {
      tokens: state.try.pieces,
      ...(isWhole ? { repeatedShare: repeatedShareOf(tokensSaid(state.choices)) } : {}),
      prompt: usage && { tokens: usage.promptTokens, cachedTokens: usage.cachedTokens },
    };
  }

  function dispatch(effect: TurnEffect & { kind: "dispatch" }): void {
    const dispatched = effect.try;
    if (chosen !== null) slots.set(dispatched, chosen);
    chosen = null;
    if (state.hedge.kind === "running" && state.hedge.try === dispatched) guards.hedged(request);
    const engine = deps.engines.get(effect.shard);
    if (engine === undefined) {
      return feed({ kind: "shardFailed", try: dispatched, failure: { reason: "unreachable" } });
    }
    const controller = new AbortController();
    controllers.set(dispatched, controller);
    const sink: EngineSink = {
      events(events) {
        for (const event of events) feed({ kind: "engine", try: dispatched, event });
      },
      document: (body, usage) => feed({ kind: "document", try: dispatched, body, usage }),
      room: () => (isHeldUp() ? waitForRoom() : null),
    };
    const call = {
      path: effect.path,
      body: effect.body,
      tenant: request.tenant,
      jurisdiction: request.jurisdiction,
      affinityKey: request.affinity.key,
      priority: request.priority,
      requestId: request.requestId,
      traceparent,
    };
    void engine.run(call, sink, controller.signal).then((failure) => {
      // An answer that was read to its end without saying that it is complete has failed; else this is ignored.
      feed({
        kind: "shardFailed",
        try: dispatched,
        failure: failure ?? { reason: "invalid", detail: "noDone" },
      });
    });
  }

  function isHeldUp(): boolean {
    return isStateless && state.phase === "running" && frames.heldBytes() > unreadBytesMax;
  }

  async function waitForRoom(): Promise<void> {
    isPaused = true;
    while (isHeldUp()) await frames.changed();
    isPaused = false;
  }

  function deliver(effect: TurnEffect & { kind: "deliver" }): void {
    const added = rendering.deliver(effect);
    if (added === null) return feed({ kind: "abort", error: divergedError });
    // Before the frames: appending them wakes their readers.
    frames.markSurplus(surplusTokensOf(state.choices));
    append(added);
  }

  function append(added: readonly ClientFrame[]): void {
    if (frames.append(added)) return;
    const hasBegun = frames.lastSeq() > 0;
    feed({
      kind: "abort",
      error: {
        code: hasBegun ? "interrupted" : "saturated",
        message: hasBegun
          ? "The answer outgrew what is kept for a reader that does not read. What was received is not complete."
          : "The cell keeps as many unread answers as it can. Try again shortly.",
      },
    });
  }

  function finish(effect: TurnEffect & { kind: "finish" | "fail" }): void {
    const rendered = rendering.end(effect, state, clock.nowMs());
    // The last frames may not fit: then the stream ends as one that was interrupted, never as a whole one.
    const isWhole = frames.append(rendered.frames);
    const last = isWhole
      ? rendered
      : rendering.end(
          {
            kind: "fail",
            status: "failed",
            error: { code: "interrupted", message: "The end of the answer could not be kept." },
            mayMove: false,
          },
          state,
          clock.nowMs(),
        );
    const outcome = spill === null ? last.outcome : { ...last.outcome, spill };
    ending = { ...last, outcome };
    frames.end(JSON.stringify(outcome), last.terminal);
    observer.ended(request, outcome);
    // An ended turn is kept for its readers; its prompt and what it began with are not.
    request = { ...request, resume: null, engine: { ...request.engine, body: {} } };
    begunSignal.resolve();
    endedSignal.resolve(ending);
  }

  /** Takes up what earlier attempts gave the client. False when this version cannot render it again byte for byte. */
  function resume(given: TurnResume): boolean {
    const choices = choicesOf(request.engine.path, request.engine.body);
    const delivered = readDelivered(request.rendering, choices, given.frames, given.toSeq);
    if (delivered === null) return false;
    state = resumedTurnState(delivered.deltas, delivered.usage, given);
    append(rendering.resume(delivered.deltas, given));
    return true;
  }

  const isReadable = begunWith.resume === null || resume(begunWith.resume);
  feed({ kind: "start" });
  if (!isReadable) feed({ kind: "abort", error: divergedError });
  return {
    get request() {
      return request;
    },
    frames,
    begun: () => begunSignal.promise,
    ended: () => endedSignal.promise,
    ending: () => ending,
    hasBegun: () => state.isBegun || state.firstTokenAtMs !== null,
    shard: () => state.shard,
    expectedWaitMs: () => (state.shard === null ? expectedWait : null),
    tick: () => feed({ kind: "tick", isPaused }),
    abort: (error) => feed({ kind: "abort", error }),
    handOver: (error) => feed({ kind: "handOver", error }),
    leaveShard(shard) {
      if (state.phase !== "running" || state.shard !== shard) return;
      feed({ kind: "shardFailed", try: state.tries, failure: { reason: "drained" } });
    },
    readerCount: () => readers,
    attach() {
      let isAttached = true;
      readers += 1;
      return () => {
        if (!isAttached) return;
        isAttached = false;
        readers -= 1;
        if (readers === 0 && isStateless) feed({ kind: "abort", error: null });
        if (readers === 0 && ending !== null) onLeft();
      };
    },
  };
}
