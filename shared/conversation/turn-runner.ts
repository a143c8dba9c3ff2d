import type { DeltaEvent, EngineEvent } from "../protocol/engine-event.ts";
import type { TurnRequest } from "../protocol/internal/turn-request.ts";
import { createAgreement } from "../protocol/resume/transcript.ts";
import { hasRepeatedTokens, isEndless } from "./answer-limits.ts";
import { charactersOf, saysSomething, withDelta, withoutUnsaid } from "./answer-so-far.ts";
import { planContinuation } from "./continuation.ts";
import { choicesOf } from "./turn-choices.ts";
import { unlimitedConditions } from "./turn-conditions.ts";
import type { TurnConditions } from "./turn-conditions.ts";
import { end, finishWith, ignored } from "./turn-ending.ts";
import type { TurnStep } from "./turn-ending.ts";
import type { TurnEffect, TurnEvent } from "./turn-events.ts";
import { divergedError, failureError, interruptedError, noShardError } from "./turn-failure.ts";
import type { ShardFailure } from "./turn-failure.ts";
import { beginHedge, endHedge, isOfHedge, promoteHedge, takeHedge } from "./turn-hedge.ts";
import {
  canContinue,
  isLate,
  isOverdue,
  mayRetry,
  retryDelayMs,
  stallMs,
} from "./turn-lateness.ts";
import type { TurnContext } from "./turn-lateness.ts";
import type { TurnPolicy } from "./turn-policy.ts";
import { failedBy, release, releaseOwn } from "./turn-release.ts";
import { beginTry, forgetAnswer, usageOf } from "./turn-state.ts";
import type { TurnState } from "./turn-state.ts";
import { beginWait, isWorthAWait, mayMoveOn, tickWait, waitingStep } from "./turn-wait.ts";

/** Choices of one turn: OpenAI's `n` is at most 128, times the prompts of one completions request. */
const choicesMax = 4096;

/**
 * Runs one turn on the shards of one cell. Decides: a shard that fails before its first token is followed by another one, at
 * most `triesMax`, each once; one that fails later is followed by another one that goes on from what the client has, or that
 * generates the answer again as far as it agrees, over at most `continuationsMax` seams, and waits at each for a shard that runs,
 * as turn-wait.ts bounds it; what the engine refuses as the
 * client's fault is not repeated. What was delivered is never taken back: an answer that cannot go on ends with an explicit
 * error. A turn ends exactly once, by `finish` or `fail`, and every dispatch is released exactly once, before that. A hedge is a
 * second dispatch before the first token (turn-hedge.ts): whichever speaks first is the answer, the other is aborted in the
 * same step. A retry before the first token is one that `conditions` allow and that is predicted to end before the deadline.
 */
export function stepTurn(
  state: TurnState,
  event: TurnEvent,
  request: TurnRequest,
  nowMs: number,
  policy: TurnPolicy,
  conditions: TurnConditions = unlimitedConditions,
): TurnStep {
  if (state.phase === "ended") {
    // A place that was found for the hedge of a turn that has ended goes back.
    return event.kind === "hedgeChosen" ? takeHedge(state, event, request, nowMs) : ignored(state);
  }
  const context: TurnContext = { request, nowMs, policy, conditions };
  switch (event.kind) {
    case "start":
      return start(state, context);
    case "shardChosen":
      return dispatch(state, event, context);
    case "noShard":
      return refuse(state, event, context);
    case "hedgeChosen":
      return takeHedge(state, event, request, nowMs);
    case "noHedge":
      return { ...ignored(state), state: { ...state, hedge: { kind: "spent" } } };
    case "engine":
      if (isOfHedge(state, event.try)) return hearHedge(state, event, context);
      if (event.try !== state.tries || state.phase !== "running") return ignored(state);
      return readEngine(state, event.event, context);
    case "document":
      if (event.try !== state.tries || state.phase !== "running") return ignored(state);
      return complete(
        {
          ...state,
          document: event.body,
          usage: event.usage,
          firstTokenAtMs: state.firstTokenAtMs ?? nowMs,
          ttftMs: state.ttftMs ?? nowMs - state.try.dispatchedAtMs,
        },
        context,
      );
    case "shardFailed":
      if (isOfHedge(state, event.try)) {
        return { ...endHedge(state, "failed", failedBy(event.failure)), reason: "noted" };
      }
      if (event.try !== state.tries || state.phase !== "running") return ignored(state);
      return failShard(state, event.failure, context);
    case "tick":
      return tick(state, event.isPaused, context);
    case "abort":
      return end(state, "aborted", {
        status: event.error === null ? "cancelled" : "failed",
        error: event.error ?? { code: "client_closed", message: "The client closed the request." },
        mayMove: false,
      });
    case "handOver":
      return end(state, "aborted", { status: "failed", error: event.error, mayMove: true });
  }
}

/** What the hedge says: with its first token it is the answer, and the shard before it is aborted. */
function hearHedge(
  state: TurnState,
  event: TurnEvent & { kind: "engine" },
  context: TurnContext,
): TurnStep {
  const heard = event.event;
  switch (heard.kind) {
    case "delta": {
      if (!saysSomething(heard)) return { state, effects: [], reason: "noted" };
      const won = promoteHedge(state, releaseOwn(state, { kind: "aborted" }), "won");
      const step = readEngine(won.state, heard, context);
      return { ...step, effects: [...won.effects, ...step.effects] };
    }
    case "invalid": {
      const failure: ShardFailure = { reason: "invalid", detail: heard.reason };
      return { ...endHedge(state, "failed", failedBy(failure)), reason: "noted" };
    }
    case "done": {
      const failure: ShardFailure = { reason: "invalid", detail: "empty" };
      return { ...endHedge(state, "failed", failedBy(failure)), reason: "noted" };
    }
    case "promptTokenIds":
      return readEngine(state, heard, context);
    case "usage":
      return { state, effects: [], reason: "noted" };
  }
}

function isWhole(state: TurnState): boolean {
  return (
    state.choices.length > 0 && state.choices.every(({ finishReason }) => finishReason !== null)
  );
}

/** Errors that are about this cell: another one may have what it lacks. */
const cellCodes: ReadonlySet<string> = new Set([
  "draining",
  "no_capacity_in_jurisdiction",
  "saturated",
]);

/** Whether a client has seen what was delivered. */
function isSeen(state: TurnState, { request }: TurnContext): boolean {
  return state.isBegun && request.rendering.stream;
}

function start(state: TurnState, context: TurnContext): TurnStep {
  if (state.phase !== "idle") return ignored(state);
  const started: TurnState = { ...state, phase: "choosing", startedAtMs: context.nowMs };
  // A cell was lost between the last of an answer and its end.
  const { path, body } = context.request.engine;
  const hasAll = isWhole(started) && started.choices.length === choicesOf(path, body);
  if (hasAll && started.usage !== null) return complete(started, context);
  return { state: started, effects: [{ kind: "chooseShard", excluded: [] }], reason: "started" };
}

function dispatch(
  state: TurnState,
  event: TurnEvent & { kind: "shardChosen" },
  context: TurnContext,
): TurnStep {
  if (state.phase !== "choosing") return ignored(state);
  const { request, nowMs } = context;
  const { plan = null } = event;
  const chosen: TurnState = {
    ...state,
    phase: "running",
    choices: state.choices.map(withoutUnsaid),
    tries: state.dispatches + 1,
    dispatches: state.dispatches + 1,
    triesInVain: state.triesInVain + 1,
    shard: event.shard,
    excluded: [...state.excluded, event.shard],
    rejected: [...state.rejected, ...event.rejected],
    queueWaitMs: state.queueWaitMs + event.queueWaitMs,
    tokensMax: request.engine.completionTokensMax ?? (event.contextTokensMax || null),
  };
  const { path, body } = request.engine;
  const whole = { kind: "dispatch", try: chosen.tries, shard: event.shard, path, body } as const;
  if (!state.isBegun) {
    return {
      state: { ...chosen, try: beginTry(nowMs, plan) },
      effects: [whole],
      reason: "dispatched",
    };
  }
  const ability = state.mustRegenerate ? "none" : event.ability;
  const continuation = planContinuation(
    request,
    chosen.choices,
    state.promptTokenIds,
    ability,
    event.contextTokensMax,
  );
  switch (continuation.kind) {
    case "continue":
      return {
        state: { ...chosen, usage: null, try: beginTry(nowMs, plan, continuation.tokensBefore) },
        effects: [{ ...whole, path: continuation.path, body: continuation.body }],
        reason: "dispatched",
      };
    case "cutAtLength":
      return cutAtLength(chosen, context);
    case "regenerate": {
      if (!isSeen(state, context)) {
        return {
          state: { ...forgetAnswer(chosen), try: beginTry(nowMs, plan) },
          effects: [{ kind: "restartAnswer" }, whole],
          reason: "dispatched",
        };
      }
      const agreement = createAgreement(state.choices.flatMap(({ said }) => said));
      return {
        state: { ...chosen, usage: null, try: beginTry(nowMs, plan, 0, agreement) },
        effects: [whole],
        reason: "dispatched",
      };
    }
  }
}

/** The shard that failed had given all that the client asked for; no other one is needed. */
function cutAtLength(state: TurnState, context: TurnContext): TurnStep {
  const delta: DeltaEvent = { kind: "delta", choice: 0, finishReason: "length" };
  const { shard, tries } = state;
  const released: TurnEffect[] =
    shard === null
      ? []
      : [{ kind: "releaseShard", try: tries, shard, result: { kind: "aborted" } }];
  const choices = withDelta(state.choices, delta);
  const step = complete(
    { ...state, shard: null, choices, try: beginTry(context.nowMs, null) },
    context,
  );
  return { ...step, effects: [...released, { kind: "deliver", delta }, ...step.effects] };
}

function refuse(
  state: TurnState,
  event: TurnEvent & { kind: "noShard" },
  context: TurnContext,
): TurnStep {
  if (state.phase !== "choosing") return ignored(state);
  const refused = { ...state, rejected: [...state.rejected, ...event.rejected] };
  const isExhausted = event.reason === "noShard" || event.reason === "unhealthy";
  const isSeenByClient = isSeen(state, context);
  if (isSeenByClient && isExhausted && !state.isRelaxed && state.excluded.length > 0) {
    return {
      state: { ...refused, excluded: [], isRelaxed: true },
      effects: [{ kind: "chooseShard", excluded: [] }],
      reason: "retried",
    };
  }
  if (isSeenByClient && isWorthAWait(refused, event.reason)) {
    const waiting = beginWait(refused, context);
    if (waiting !== null) return waitingStep(waiting, []);
  }
  const { policy } = context;
  const error = isSeenByClient
    ? interruptedError
    : state.lastFailure !== null && isExhausted
      ? failureError(state.lastFailure, policy)
      : noShardError(event.reason, event.retryAfterMs, policy);
  return finishWith(refused, [], isSeenByClient ? "interrupted" : "refused", {
    status: "failed",
    error,
    // Where this cell has no shard left, another one may.
    mayMove:
      event.reason !== "poisoned" && (isSeenByClient || isExhausted || cellCodes.has(error.code)),
  });
}

function readEngine(state: TurnState, event: EngineEvent, context: TurnContext): TurnStep {
  switch (event.kind) {
    case "delta":
      return deliver(state, event, context);
    case "usage":
      return { state: { ...state, usage: event.usage }, effects: [], reason: "noted" };
    case "promptTokenIds":
      // Those of a continuation hold a part of the answer.
      return {
        state: { ...state, promptTokenIds: state.promptTokenIds ?? event.tokenIds },
        effects: [],
        reason: "noted",
      };
    case "invalid":
      return failShard(state, { reason: "invalid", detail: event.reason }, context);
    case "done": {
      // An engine that counts fewer tokens than it gave has sent some of them twice.
      if (hasRepeatedTokens(state, context))
        return failShard(state, { reason: "invalid", detail: "shape" }, context);
      if (isWhole(state) && state.try.agreement?.isCovered() !== false) {
        return complete(state, context);
      }
      const detail = state.choices.length === 0 ? "empty" : "noFinishReason";
      return failShard(state, { reason: "invalid", detail }, context);
    }
  }
}

function deliver(given: TurnState, piece: DeltaEvent, context: TurnContext): TurnStep {
  if (!saysSomething(piece)) return { state: given, effects: [], reason: "noted" };
  // Whichever speaks first is the answer; in most turns there is no other.
  const lost = endHedge(given, "lost", { kind: "aborted" });
  const step = hearPiece(lost.state, piece, context);
  return lost.effects.length === 0
    ? step
    : { ...step, effects: [...lost.effects, ...step.effects] };
}

function hearPiece(state: TurnState, piece: DeltaEvent, context: TurnContext): TurnStep {
  const { nowMs, policy } = context;
  const heard: TurnState = {
    ...state,
    try: {
      ...state.try,
      firstAtMs: state.try.firstAtMs ?? nowMs,
      lastAtMs: nowMs,
      pieces: state.try.pieces + (piece.pieces ?? 1),
    },
  };
  let delta = piece;
  if (state.try.agreement !== null) {
    const verdict = state.try.agreement.accept(piece);
    if (verdict.kind === "diverged") return diverge(heard);
    if (verdict.kind === "covered") return { state: heard, effects: [], reason: "covered" };
    ({ delta } = verdict);
  }
  const characters = state.characters + charactersOf(delta);
  if (characters > policy.answerCharactersMax || delta.choice >= choicesMax) {
    return failShard(state, { reason: "invalid", detail: "tooLong" }, context);
  }
  const choices = withDelta(state.choices, delta);
  if (isEndless(state, choices, delta.choice)) {
    return failShard(state, { reason: "invalid", detail: "tooLong" }, context);
  }
  const continuationsBefore = context.request.resume?.continuations ?? 0;
  const isSeam = !state.try.hasDelivered && state.continuations > continuationsBefore;
  return {
    state: {
      ...heard,
      isBegun: true,
      choices,
      characters,
      deltas: state.deltas + 1,
      firstTokenAtMs: state.firstTokenAtMs ?? nowMs,
      ttftMs: state.ttftMs ?? nowMs - state.try.dispatchedAtMs,
      excluded: state.shard === null ? [] : [state.shard],
      triesInVain: 0,
      isRelaxed: false,
      waitUntilMs: null,
      try: { ...heard.try, hasDelivered: true },
    },
    effects: isSeam ? [{ kind: "seam" }, { kind: "deliver", delta }] : [{ kind: "deliver", delta }],
    reason: state.isBegun ? "delivered" : "firstToken",
  };
}

/** Another shard gave another answer: what the client has stays as it is, and is said not to be complete. */
function diverge(state: TurnState): TurnStep {
  const released = release(state, { kind: "aborted" });
  const ending = { status: "failed", error: divergedError, mayMove: false } as const;
  return finishWith(state, released, "diverged", ending);
}

function complete(state: TurnState, { request }: TurnContext): TurnStep {
  const released = release(state, { kind: "succeeded" });
  return {
    state: { ...state, phase: "ended" },
    effects: [
      ...released,
      { kind: "finish", usage: usageOf(state, request), document: state.document },
    ],
    reason: "completed",
  };
}

function failShard(state: TurnState, failure: ShardFailure, context: TurnContext): TurnStep {
  const { policy } = context;
  // A shard that may not keep its turns keeps those that no other one could go on with.
  if (failure.reason === "drained" && !canContinue(state, policy)) return ignored(state);
  if (failure.reason === "clientFault" && !state.isBegun) {
    const released = release(state, failedBy(failure));
    const error = failureError(failure, policy);
    return finishWith(state, released, "clientFault", { status: "failed", error, mayMove: false });
  }
  const released = releaseOwn(state, failedBy(failure));
  if (state.hedge.kind === "running") {
    const known: TurnState = {
      ...state,
      rejected: [...state.rejected, ...rejectionOf(state.shard, failure)],
      lastFailure: failure,
    };
    return { ...promoteHedge(known, released, "replaced"), reason: "retried" };
  }
  const failed: TurnState = {
    ...state,
    phase: "choosing",
    shard: null,
    hedge: state.hedge.kind === "choosing" ? { kind: "spent" } : state.hedge,
    rejected: [...state.rejected, ...rejectionOf(state.shard, failure)],
    lastFailure: failure,
    continuations: state.continuations + (state.try.hasDelivered ? 1 : 0),
    // What one engine refuses of a prompt that another had taken is the beginning of the answer in it.
    mustRegenerate: state.mustRegenerate || failure.reason === "clientFault",
  };
  const isHopeless = failure.reason === "clientFault" && state.try.agreement !== null;
  const isSeenByClient = isSeen(state, context);
  const isSpent = isHopeless || failed.continuations > policy.continuationsMax;
  const isRetry = !state.isBegun && failure.reason !== "drained" && failure.reason !== "cold";
  const isTried = state.triesInVain >= policy.triesMax || (isRetry && !mayRetry(state, context));
  if (isSpent || isTried || state.waitUntilMs !== null) {
    const waiting = isSeenByClient && !isSpent ? beginWait(failed, context) : null;
    if (waiting !== null) return waitingStep(waiting, released);
    const error = isSeenByClient ? interruptedError : failureError(failure, policy);
    const mayMove =
      !isSpent && (isSeenByClient ? mayMoveOn(state, context) : cellCodes.has(error.code));
    const reason = isSeenByClient ? "interrupted" : "triesExhausted";
    return finishWith(failed, released, reason, { status: "failed", error, mayMove });
  }
  // A cold shard is not to be tried again and again; its scheduler knows by now that it is cold, and gives it once it runs.
  const excluded =
    failure.reason === "cold" ? state.excluded.filter((id) => id !== state.shard) : state.excluded;
  const choose: TurnEffect = isRetry
    ? { kind: "chooseShard", excluded, retryDelayMs: retryDelayMs(context) }
    : { kind: "chooseShard", excluded };
  return { state: failed, effects: [...released, choose], reason: "retried" };
}

function rejectionOf(shard: TurnState["shard"], failure: ShardFailure) {
  return shard === null ? [] : [{ id: shard, reason: failure.reason }];
}

function tick(state: TurnState, isPaused: boolean, context: TurnContext): TurnStep {
  const { request, nowMs, policy } = context;
  if (nowMs >= request.deadlineMs) {
    return end(state, "deadlineExceeded", {
      status: "failed",
      error: {
        code: "deadline_exceeded",
        message: "The answer was not complete at the request's deadline.",
      },
      mayMove: false,
    });
  }
  if (state.phase !== "running") return tickWait(state, context);
  if (isPaused) {
    return {
      // A shard that was held up is never overdue.
      state: { ...state, try: { ...state.try, lastAtMs: nowMs, plan: null } },
      effects: [],
      reason: "noted",
    };
  }
  if (state.try.firstAtMs === null) {
    return isLate(state, context)
      ? failShard(state, { reason: "firstTokenTimeout" }, context)
      : (beginHedge(state, nowMs, context.conditions) ?? ignored(state));
  }
  if (isOverdue(state, context)) return failShard(state, { reason: "overdue" }, context);
  return nowMs - state.try.lastAtMs >= stallMs(state, policy)
    ? failShard(state, { reason: "stalled" }, context)
    : ignored(state);
}
