import type { ErrorOutcome } from "../errors/gateway-error.ts";
import type { DeltaEvent, EngineEvent } from "../protocol/engine-event.ts";
import type { TurnRequest } from "../protocol/internal/turn-request.ts";
import { createAgreement } from "../protocol/resume/transcript.ts";
import { charactersOf, saysSomething, withDelta, withoutUnsaid } from "./answer-so-far.ts";
import type { ChoiceState } from "./answer-so-far.ts";
import { planContinuation } from "./continuation.ts";
import { choicesOf } from "./turn-choices.ts";
import type { TurnEffect, TurnEvent, TurnStepReason, TryResult } from "./turn-events.ts";
import { divergedError, failureError, interruptedError, noShardError } from "./turn-failure.ts";
import type { ShardFailure } from "./turn-failure.ts";
import type { TurnPolicy } from "./turn-policy.ts";
import { beginTry, forgetAnswer, usageOf } from "./turn-state.ts";
import type { TurnState } from "./turn-state.ts";

/** The next state, what to do, and why. */
export interface TurnStep {
  readonly state: TurnState;
  readonly effects: readonly TurnEffect[];
  readonly reason: TurnStepReason;
}

/** What every step is given besides state and event. */
interface Context {
  readonly request: TurnRequest;
  readonly nowMs: number;
  readonly policy: TurnPolicy;
}

/** Choices of one turn: OpenAI's `n` is at most 128, times the prompts of one completions request. */
const choicesMax = 4096;

/**
 * Runs one turn on the shards of one cell. Decides: a shard that fails before its first token is followed by another one, at
 * most `triesMax`, each once; one that fails later is followed by another one that goes on from what the client has, or that
 * generates the answer again as far as it agrees, over at most `continuationsMax` seams; what the engine refuses as the
 * client's fault is not repeated. What was delivered is never taken back: an answer that cannot go on ends with an explicit
 * error. A turn ends exactly once, by `finish` or `fail`, and every dispatch is released exactly once, before that.
 */
export function stepTurn(
  state: TurnState,
  event: TurnEvent,
  request: TurnRequest,
  nowMs: number,
  policy: TurnPolicy,
): TurnStep {
  if (state.phase === "ended") return ignored(state);
  const context: Context = { request, nowMs, policy };
  switch (event.kind) {
    case "start":
      return start(state, context);
    case "shardChosen":
      return dispatch(state, event, context);
    case "noShard":
      return refuse(state, event, context);
    case "engine":
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

function ignored(state: TurnState): TurnStep {
  return { state, effects: [], reason: "ignored" };
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
function isSeen(state: TurnState, { request }: Context): boolean {
  return state.isBegun && request.rendering.stream;
}

function start(state: TurnState, context: Context): TurnStep {
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
  context: Context,
): TurnStep {
  if (state.phase !== "choosing") return ignored(state);
  const { request, nowMs } = context;
  const chosen: TurnState = {
    ...state,
    phase: "running",
    choices: state.choices.map(withoutUnsaid),
    tries: state.tries + 1,
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
      state: { ...chosen, try: beginTry(nowMs) },
      effects: [whole],
      reason: "dispatched",
    };
  }
  const ability = state.mustRegenerate ? "none" : event.ability;
  const plan = planContinuation(
    request,
    chosen.choices,
    state.promptTokenIds,
    ability,
    event.contextTokensMax,
  );
  switch (plan.kind) {
    case "continue":
      return {
        state: { ...chosen, usage: null, try: beginTry(nowMs, plan.tokensBefore) },
        effects: [{ ...whole, path: plan.path, body: plan.body }],
        reason: "dispatched",
      };
    case "cutAtLength":
      return cutAtLength(chosen, context);
    case "regenerate": {
      if (!isSeen(state, context)) {
        return {
          state: { ...forgetAnswer(chosen), try: beginTry(nowMs) },
          effects: [{ kind: "restartAnswer" }, whole],
          reason: "dispatched",
        };
      }
      const agreement = createAgreement(state.choices.flatMap(({ said }) => said));
      return {
        state: { ...chosen, usage: null, try: beginTry(nowMs, 0, agreement) },
        effects: [whole],
        reason: "dispatched",
      };
    }
  }
}

/** The shard that failed had given all that the client asked for; no other one is needed. */
function cutAtLength(state: TurnState, context: Context): TurnStep {
  const delta: DeltaEvent = { kind: "delta", choice: 0, finishReason: "length" };
  const { shard, tries } = state;
  const released: TurnEffect[] =
    shard === null
      ? []
      : [{ kind: "releaseShard", try: tries, shard, result: { kind: "aborted" } }];
  const choices = withDelta(state.choices, delta);
  const step = complete({ ...state, shard: null, choices, try: beginTry(context.nowMs) }, context);
  return { ...step, effects: [...released, { kind: "deliver", delta }, ...step.effects] };
}

function refuse(
  state: TurnState,
  event: TurnEvent & { kind: "noShard" },
  context: Context,
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
    mayMove: isSeenByClient || isExhausted || cellCodes.has(error.code),
  });
}

function readEngine(state: TurnState, event: EngineEvent, context: Context): TurnStep {
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

/** Whether the current shard gave more tokens than it counted. An echoed prompt is among those given. */
function hasRepeatedTokens(
  { choices, usage, try: current }: TurnState,
  { request }: Context,
): boolean {
  const isKnown = usage !== null && choices.every(({ hasAllTokenIds }) => hasAllTokenIds);
  if (!isKnown || current.agreement !== null || request.engine.body["echo"] === true) return false;
  const given = choices.reduce((sum, { tokenCount }) => sum + tokenCount, 0);
  return given - current.tokensBefore > usage.completionTokens;
}

/** Pieces that one choice may have for each token that it may have: some engines cut a tool call into several. */
const piecesPerTokenMax = 2;
const piecesOverMax = 64;

/** Whether a choice is longer than the client allows and than the model's context: its engine never ends. */
function isEndless(state: TurnState, choices: readonly ChoiceState[], choice: number): boolean {
  if (state.tokensMax === null) return false;
  const pieceCount = choices[choice]?.pieceCount ?? 0;
  return pieceCount > piecesPerTokenMax * state.tokensMax + piecesOverMax;
}

function deliver(state: TurnState, piece: DeltaEvent, context: Context): TurnStep {
  const { nowMs, policy } = context;
  if (!saysSomething(piece)) return { state, effects: [], reason: "noted" };
  const heard: TurnState = {
    ...state,
    try: {
      ...state.try,
      firstAtMs: state.try.firstAtMs ?? nowMs,
      lastAtMs: nowMs,
      pieces: state.try.pieces + 1,
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

function complete(state: TurnState, { request }: Context): TurnStep {
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

/** The end of the current dispatch: aborted first, so that a shard that still works on it stops. */
function release(state: TurnState, result: TryResult): TurnEffect[] {
  if (state.phase !== "running" || state.shard === null) return [];
  const releaseShard: TurnEffect = {
    kind: "releaseShard",
    try: state.tries,
    shard: state.shard,
    result,
  };
  return result.kind === "succeeded"
    ? [releaseShard]
    : [{ kind: "abortShard", try: state.tries }, releaseShard];
}

function failShard(state: TurnState, failure: ShardFailure, context: Context): TurnStep {
  const { policy } = context;
  // A shard that may not keep its turns keeps those that no other one could go on with.
  if (failure.reason === "drained" && !canContinue(state, policy)) return ignored(state);
  const released = release(state, { kind: "failed", failure });
  if (failure.reason === "clientFault" && !state.isBegun) {
    const error = failureError(failure, policy);
    return finishWith(state, released, "clientFault", { status: "failed", error, mayMove: false });
  }
  const failed: TurnState = {
    ...state,
    phase: "choosing",
    shard: null,
    rejected: [...state.rejected, ...rejectionOf(state.shard, failure)],
    lastFailure: failure,
    continuations: state.continuations + (state.try.hasDelivered ? 1 : 0),
    // What one engine refuses of a prompt that another had taken is the beginning of the answer in it.
    mustRegenerate: state.mustRegenerate || failure.reason === "clientFault",
  };
  const isHopeless = failure.reason === "clientFault" && state.try.agreement !== null;
  const isSeenByClient = isSeen(state, context);
  const isSpent = isHopeless || failed.continuations > policy.continuationsMax;
  if (isSpent || state.triesInVain >= policy.triesMax) {
    const error = isSeenByClient ? interruptedError : failureError(failure, policy);
    const mayMove = !isSpent && (isSeenByClient || cellCodes.has(error.code));
    const reason = isSeenByClient ? "interrupted" : "triesExhausted";
    return finishWith(failed, released, reason, { status: "failed", error, mayMove });
  }
  return {
    state: failed,
    effects: [...released, { kind: "chooseShard", excluded: state.excluded }],
    reason: "retried",
  };
}

function canContinue(state: TurnState, policy: TurnPolicy): boolean {
  const continuations = state.continuations + (state.try.hasDelivered ? 1 : 0);
  return continuations <= policy.continuationsMax && state.triesInVain < policy.triesMax;
}

function rejectionOf(shard: TurnState["shard"], failure: ShardFailure) {
  return shard === null ? [] : [{ id: shard, reason: failure.reason }];
}

function tick(state: TurnState, isPaused: boolean, context: Context): TurnStep {
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
  if (state.phase !== "running") return ignored(state);
  if (isPaused) {
    return {
      state: { ...state, try: { ...state.try, lastAtMs: nowMs } },
      effects: [],
      reason: "noted",
    };
  }
  if (state.try.firstAtMs === null) {
    return nowMs - state.try.dispatchedAtMs >= policy.firstTokenTimeoutMs
      ? failShard(state, { reason: "firstTokenTimeout" }, context)
      : ignored(state);
  }
  return nowMs - state.try.lastAtMs >= stallMs(state, policy)
    ? failShard(state, { reason: "stalled" }, context)
    : ignored(state);
}

/** Silence after which a begun answer has stalled, ms. */
function stallMs(state: TurnState, policy: TurnPolicy): number {
  const { firstAtMs, lastAtMs, pieces } = state.try;
  if (firstAtMs === null || pieces < 2) return policy.stallMinMs;
  const meanMs = (lastAtMs - firstAtMs) / (pieces - 1);
  return Math.max(policy.stallMinMs, policy.stallFactor * meanMs);
}

interface Ending {
  readonly status: "failed" | "cancelled";
  readonly error: ErrorOutcome;
  readonly mayMove: boolean;
}

function end(state: TurnState, reason: TurnStepReason, ending: Ending): TurnStep {
  const stop: TurnEffect[] =
    state.phase === "choosing" ? [{ kind: "stopChoosing" }] : release(state, { kind: "aborted" });
  return finishWith(state, stop, reason, ending);
}

function finishWith(
  state: TurnState,
  before: readonly TurnEffect[],
  reason: TurnStepReason,
  ending: Ending,
): TurnStep {
  return {
    state: { ...state, phase: "ended" },
    effects: [...before, { kind: "fail", ...ending }],
    reason,
  };
}
