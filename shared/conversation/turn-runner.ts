import type { ErrorOutcome } from "../errors/gateway-error.ts";
import type { DeltaEvent, EngineEvent } from "../protocol/engine-event.ts";
import type { TurnRequest } from "../protocol/internal/turn-request.ts";
import type { TurnEffect, TurnEvent, TurnStepReason, TryResult } from "./turn-events.ts";
import { failureError, noShardError } from "./turn-failure.ts";
import type { ShardFailure } from "./turn-failure.ts";
import type { TurnPolicy } from "./turn-policy.ts";
import { forgetAnswer, usageOf } from "./turn-state.ts";
import type { ChoiceState, TurnState } from "./turn-state.ts";

/** The next state, what to do, and why. */
export interface TurnStep {
  readonly state: TurnState;
  readonly effects: readonly TurnEffect[];
  readonly reason: TurnStepReason;
}

/** Choices of one turn: OpenAI's `n` is at most 128, times the prompts of one completions request. */
const choicesMax = 4096;

const emptyChoice: ChoiceState = {
  text: "",
  tokenIds: [],
  tokenCount: 0,
  hasToolCalls: false,
  hasReasoning: false,
  finishReason: null,
};

/**
 * Runs one turn on the shards of one cell. Decides: a shard that fails before its first token is followed by another one,
 * at most `triesMax`, each once; what the engine refuses as the client's fault is not repeated; a failure after the first
 * token that a client may have seen ends the turn with `interrupted`; while nothing was seen (the client does not stream)
 * the answer is begun anew elsewhere. A turn ends exactly once, by `finish` or `fail`, and every dispatch is released
 * exactly once, before that.
 */
export function stepTurn(
  state: TurnState,
  event: TurnEvent,
  request: TurnRequest,
  nowMs: number,
  policy: TurnPolicy,
): TurnStep {
  if (state.phase === "ended") return ignored(state);
  switch (event.kind) {
    case "start":
      if (state.phase !== "idle") return ignored(state);
      return {
        state: { ...state, phase: "choosing", startedAtMs: nowMs },
        effects: [{ kind: "chooseShard", excluded: [] }],
        reason: "started",
      };
    case "shardChosen":
      return dispatch(state, event, request, nowMs);
    case "noShard":
      return refuse(state, event, policy);
    case "engine":
      if (event.try !== state.tries || state.phase !== "running") return ignored(state);
      return readEngine(state, event.event, request, nowMs, policy);
    case "document":
      if (event.try !== state.tries || state.phase !== "running") return ignored(state);
      return complete(
        {
          ...state,
          document: event.body,
          usage: event.usage,
          firstTokenAtMs: state.firstTokenAtMs ?? nowMs,
        },
        request,
      );
    case "shardFailed":
      if (event.try !== state.tries || state.phase !== "running") return ignored(state);
      return failShard(state, event.failure, request, policy);
    case "tick":
      return tick(state, event.isPaused, request, nowMs, policy);
    case "abort":
      return end(state, "aborted", {
        status: event.error === null ? "cancelled" : "failed",
        error: event.error ?? { code: "client_closed", message: "The client closed the request." },
      });
  }
}

function ignored(state: TurnState): TurnStep {
  return { state, effects: [], reason: "ignored" };
}

function dispatch(
  state: TurnState,
  event: TurnEvent & { kind: "shardChosen" },
  request: TurnRequest,
  nowMs: number,
): TurnStep {
  if (state.phase !== "choosing") return ignored(state);
  const tries = state.tries + 1;
  return {
    state: {
      ...state,
      phase: "running",
      tries,
      shard: event.shard,
      tried: [...state.tried, event.shard],
      rejected: [...state.rejected, ...event.rejected],
      queueWaitMs: state.queueWaitMs + event.queueWaitMs,
      dispatchedAtMs: nowMs,
      lastTokenAtMs: nowMs,
    },
    effects: [{ kind: "dispatch", try: tries, shard: event.shard, body: request.engine.body }],
    reason: "dispatched",
  };
}

function refuse(
  state: TurnState,
  event: TurnEvent & { kind: "noShard" },
  policy: TurnPolicy,
): TurnStep {
  if (state.phase !== "choosing") return ignored(state);
  const isExhausted = event.reason === "noShard" || event.reason === "unhealthy";
  const error =
    state.lastFailure !== null && isExhausted
      ? failureError(state.lastFailure, policy)
      : noShardError(event.reason, event.retryAfterMs, policy);
  const rejected = [...state.rejected, ...event.rejected];
  return finishWith({ ...state, rejected }, [], "refused", { status: "failed", error });
}

function readEngine(
  state: TurnState,
  event: EngineEvent,
  request: TurnRequest,
  nowMs: number,
  policy: TurnPolicy,
): TurnStep {
  switch (event.kind) {
    case "delta":
      return deliver(state, event, request, nowMs, policy);
    case "usage":
      return { state: { ...state, usage: event.usage }, effects: [], reason: "noted" };
    case "promptTokenIds":
      return { state: { ...state, promptTokenIds: event.tokenIds }, effects: [], reason: "noted" };
    case "invalid":
      return failShard(state, { reason: "invalid", detail: event.reason }, request, policy);
    case "done": {
      const isWhole =
        state.choices.length > 0 &&
        state.choices.every(({ finishReason }) => finishReason !== null);
      if (isWhole) return complete(state, request);
      const detail = state.choices.length === 0 ? "empty" : "noFinishReason";
      return failShard(state, { reason: "invalid", detail }, request, policy);
    }
  }
}

/** Whether a piece says anything: engines open with an empty role chunk, which is no token. */
function saysSomething(delta: DeltaEvent): boolean {
  return (
    (delta.text ?? "") !== "" ||
    (delta.reasoning ?? "") !== "" ||
    (delta.refusal ?? "") !== "" ||
    (delta.toolCalls?.length ?? 0) > 0 ||
    (delta.tokenIds?.length ?? 0) > 0 ||
    delta.finishReason !== undefined ||
    (delta.logprobs ?? null) !== null
  );
}

function deliver(
  state: TurnState,
  delta: DeltaEvent,
  request: TurnRequest,
  nowMs: number,
  policy: TurnPolicy,
): TurnStep {
  if (!saysSomething(delta)) return { state, effects: [], reason: "noted" };
  const characters = state.characters + charactersOf(delta);
  if (characters > policy.answerCharactersMax || delta.choice >= choicesMax) {
    return failShard(state, { reason: "invalid", detail: "tooLong" }, request, policy);
  }
  const next: TurnState = {
    ...state,
    isBegun: true,
    choices: withDelta(state.choices, delta),
    characters,
    deltas: state.deltas + 1,
    firstTokenAtMs: state.firstTokenAtMs ?? nowMs,
    lastTokenAtMs: nowMs,
  };
  return {
    state: next,
    effects: [{ kind: "deliver", delta }],
    reason: state.isBegun ? "delivered" : "firstToken",
  };
}

function charactersOf(delta: DeltaEvent): number {
  let sum =
    (delta.text?.length ?? 0) + (delta.reasoning?.length ?? 0) + (delta.refusal?.length ?? 0);
  for (const call of delta.toolCalls ?? []) {
    sum += (call.arguments?.length ?? 0) + (call.name?.length ?? 0) + (call.id?.length ?? 0);
  }
  return sum;
}

function withDelta(choices: readonly ChoiceState[], delta: DeltaEvent): readonly ChoiceState[] {
  const next = [...choices];
  while (next.length <= delta.choice) next.push(emptyChoice);
  const old = next[delta.choice] ?? emptyChoice;
  const tokenIds = appendTokens(old, delta.tokenIds ?? []);
  next[delta.choice] = {
    text: old.text + (delta.text ?? ""),
    tokenIds,
    tokenCount: old.tokenCount + (delta.tokenIds?.length ?? 0),
    hasToolCalls: old.hasToolCalls || (delta.toolCalls?.length ?? 0) > 0,
    hasReasoning: old.hasReasoning || (delta.reasoning ?? "") !== "",
    finishReason: delta.finishReason ?? old.finishReason,
  };
  return next;
}

/** Pushes onto the shared array, so that a long answer costs O(1) per token; copies when `old` is not its newest holder. */
function appendTokens(old: ChoiceState, added: readonly number[]): readonly number[] {
  if (added.length === 0) return old.tokenIds;
  const isNewest = old.tokenCount > 0 && old.tokenIds.length === old.tokenCount;
  const target = isNewest ? (old.tokenIds as number[]) : old.tokenIds.slice(0, old.tokenCount);
  target.push(...added);
  return target;
}

function complete(state: TurnState, request: TurnRequest): TurnStep {
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

function failShard(
  state: TurnState,
  failure: ShardFailure,
  request: TurnRequest,
  policy: TurnPolicy,
): TurnStep {
  const released = release(state, { kind: "failed", failure });
  if (state.isBegun && request.rendering.stream) {
    const error: ErrorOutcome = {
      code: "interrupted",
      message:
        "The answer was interrupted and could not be continued. What was received is not complete.",
    };
    return finishWith(state, released, "interrupted", { status: "failed", error });
  }
  if (failure.reason === "clientFault") {
    const error = failureError(failure, policy);
    return finishWith(state, released, "clientFault", { status: "failed", error });
  }
  const rejected = [...state.rejected, ...rejectionOf(state.shard, failure)];
  const failed: TurnState = { ...state, rejected, lastFailure: failure };
  if (state.tries >= policy.triesMax) {
    const error = failureError(failure, policy);
    return finishWith(failed, released, "triesExhausted", { status: "failed", error });
  }
  return {
    state: { ...forgetAnswer(failed), phase: "choosing", shard: null },
    effects: [
      ...released,
      ...(state.isBegun ? [{ kind: "restartAnswer" } as const] : []),
      { kind: "chooseShard", excluded: state.tried },
    ],
    reason: "retried",
  };
}

function rejectionOf(shard: TurnState["shard"], failure: ShardFailure) {
  return shard === null ? [] : [{ id: shard, reason: failure.reason }];
}

function tick(
  state: TurnState,
  isPaused: boolean,
  request: TurnRequest,
  nowMs: number,
  policy: TurnPolicy,
): TurnStep {
  if (nowMs >= request.deadlineMs) {
    return end(state, "deadlineExceeded", {
      status: "failed",
      error: {
        code: "deadline_exceeded",
        message: "The answer was not complete at the request's deadline.",
      },
    });
  }
  if (state.phase !== "running") return ignored(state);
  if (isPaused) {
    return { state: { ...state, lastTokenAtMs: nowMs }, effects: [], reason: "noted" };
  }
  if (state.firstTokenAtMs === null) {
    return nowMs - state.dispatchedAtMs >= policy.firstTokenTimeoutMs
      ? failShard(state, { reason: "firstTokenTimeout" }, request, policy)
      : ignored(state);
  }
  return nowMs - state.lastTokenAtMs >= stallMs(state, policy)
    ? failShard(state, { reason: "stalled" }, request, policy)
    : ignored(state);
}

/** Silence after which a begun answer has stalled, ms. */
function stallMs(state: TurnState, policy: TurnPolicy): number {
  if (state.firstTokenAtMs === null || state.deltas < 2) return policy.stallMinMs;
  const meanMs = (state.lastTokenAtMs - state.firstTokenAtMs) / (state.deltas - 1);
  return Math.max(policy.stallMinMs, policy.stallFactor * meanMs);
}

interface Ending {
  readonly status: "failed" | "cancelled";
  readonly error: ErrorOutcome;
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
