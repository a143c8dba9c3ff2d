import type { CellDescription } from "#shared/config/topology.ts";
import type { RelayPolicy } from "#shared/conversation/relay-state.ts";
import type { ErrorOutcome } from "#shared/errors/gateway-error.ts";
import type { EngineRequest, TurnRequest } from "#shared/protocol/internal/turn-request.ts";
import type { RejectedCandidate, TurnOutcome } from "#shared/protocol/internal/turn-outcome.ts";
import type { JsonObject } from "#shared/protocol/json.ts";
import { asTurnId } from "#shared/residency/identifiers.ts";
import type { CellAnswer, EdgeDeps } from "../ports.ts";
import type { Hops, RequestFacts } from "../request-facts.ts";
import { renderErrorFrames } from "./error-frames.ts";
import {
  answerHeaders,
  levelHeaders,
  readLevel,
  readOutcomeHeader,
  refuse,
  streamContentType,
} from "./lane-answer.ts";
import type { LaneAnswer } from "./lane-answer.ts";
import type { PreparedTurn } from "./prepared-turn.ts";
import { RelayDriver } from "./relay-driver.ts";
import { reserve } from "./reservation.ts";
import type { Reservation } from "./reservation.ts";

/** Time that a cell has to begin its answer or to say that it still waits for a shard, ms. */
export const cellHeadTimeoutMs = 10_000;

/** How far a turn may be moved between cells, and what is held for that. */
export const failoverBounds = {
  failoversMax: 2,
  continuationsMax: 2,
  /** Cells send a comment every 3 s at least. */
  silenceMs: 10_000,
  heldBytesMax: 1024 * 1024,
} as const;

/** Cells that one request is offered to: a second one only when the first took nothing. */
const cellsMax = 2;
/** Retry-After when no cell is left, ms. */
const noCapacityRetryAfterMs = 5_000;

/** The refusal when no cell of the jurisdiction can take a prompt; it is never served elsewhere. */
export const noCapacity: ErrorOutcome = {
  code: "no_capacity_in_jurisdiction",
  message: "No cell of this jurisdiction can take the prompt at the moment. Try again later.",
  retryAfterMs: noCapacityRetryAfterMs,
};

const publicPrefix = { chat: "chatcmpl", completions: "cmpl", embeddings: "embd" } as const;

/** Ids of a stateless turn name nothing that could be looked up, so they carry no MAC: random alone. */
function statelessIds(deps: EdgeDeps, prepared: PreparedTurn) {
  const random = deps.identifiers.random(28);
  const prefix = prepared.api === "responses" ? "resp" : publicPrefix[prepared.api];
  return { turnId: asTurnId(`turn_${random}`), publicId: `${prefix}_${random}`, random };
}

function turnRequest(
  deps: EdgeDeps,
  facts: RequestFacts,
  prepared: PreparedTurn,
  engineBody: JsonObject,
): Omit<TurnRequest, "cell" | "hop"> {
  const { generation, api, echo } = prepared;
  const { turnId, publicId, random } = statelessIds(deps, prepared);
  return {
    v: 1,
    turnId,
    lane: "stateless",
    tenant: facts.tenant.id,
    jurisdiction: facts.jurisdiction.id,
    conversationId: null,
    incarnation: 0,
    attempt: 1,
    requestId: facts.requestId,
    priority: facts.priority,
    deadlineMs: facts.deadlineMs,
    affinity: { homeShard: null, key: prepared.affinityKey },
    rendering: {
      api,
      stream: generation.stream,
      includeUsage: generation.includeUsage,
      publicId,
      createdAtSeconds: Math.floor(facts.startedAtMs / 1000),
      model: generation.model,
      itemIdStem: random,
      echo,
    },
    engine: engineRequest(prepared, engineBody),
    resume: null,
  };
}

/** What the engine is asked, with its body as given. */
export function engineRequest(prepared: PreparedTurn, body: JsonObject): EngineRequest {
  const { api, generation } = prepared;
  return {
    path: api === "completions" || api === "embeddings" ? api : "chat/completions",
    model: generation.model,
    body,
    promptTokensEstimate: generation.promptTokensEstimate,
    completionTokensMax: generation.completionTokensMax,
  };
}

interface Dispatched {
  readonly answer: CellAnswer | null;
  readonly cell: CellDescription | null;
  readonly rejected: readonly RejectedCandidate[];
}

/** Offers the turn to the best cell, and to one other when the first took nothing. */
async function dispatch(
  deps: EdgeDeps,
  facts: RequestFacts,
  prepared: PreparedTurn,
  request: Omit<TurnRequest, "cell" | "hop">,
  signal: AbortSignal,
  except: CellDescription | null = null,
): Promise<Dispatched> {
  const { cells } = deps.rankCells(
    {
      jurisdiction: facts.jurisdiction.id,
      model: prepared.model.id,
      priority: facts.priority,
      affinityKey: prepared.affinityKey,
      homeCell: null,
      position: facts.position,
    },
    facts.waitUntil,
  );
  const rejected: RejectedCandidate[] = [];
  let last: Dispatched = { answer: null, cell: null, rejected };
  const usable = cells.filter(({ id }) => id !== except?.id);
  for (const [hop, cell] of usable.slice(0, cellsMax).entries()) {
    const answer = await deps.cells.startTurn(
      cell,
      { ...request, cell: cell.id, hop },
      {
        requestId: facts.requestId,
        traceparent: facts.traceparent,
        deadlineMs: facts.deadlineMs,
        signal,
        // A whole answer comes when it is done.
        headTimeoutMs: prepared.generation.stream ? cellHeadTimeoutMs : null,
      },
    );
    last = { answer, cell, rejected };
    if (answer.kind === "answer") return last;
    if (answer.kind === "refused" && !answer.mayMove) return last;
    if (answer.kind === "unreachable" && answer.failure === "timeout") return last;
    const reason = answer.kind === "refused" ? answer.error.code : answer.failure;
    rejected.push({ id: cell.id, reason });
    deps.log("warn", "cellRejected", { requestId: facts.requestId, cell: cell.id, reason });
  }
  return last;
}

function errorOf(answer: CellAnswer | null): ErrorOutcome {
  if (answer === null) return noCapacity;
  if (answer.kind === "refused") return answer.error;
  return answer.kind === "unreachable" && answer.failure === "timeout"
    ? { code: "deadline_exceeded", message: "No answer came before the request's deadline." }
    : noCapacity;
}

/** A whole answer, passed through natively: its bytes are not touched. */
function passThrough(
  answer: Extract<CellAnswer, { kind: "answer" }>,
  hops: Hops,
  reservation: Reservation,
): LaneAnswer {
  const outcome = readOutcomeHeader(answer.headers);
  const isJson = answer.headers.get("content-type")?.startsWith("application/json") === true;
  if (outcome === null || !isJson) {
    reservation.settle({ kind: "nothing" });
    void answer.body.cancel();
    return refuse({ code: "upstream_invalid", message: "The cell's answer was not valid." }, hops);
  }
  reservation.settle({ kind: "outcome", outcome });
  const headers = answerHeaders({
    contentType: "application/json",
    shard: outcome.shard,
    level: readLevel(answer.headers),
    rateLimit: reservation.headers,
  });
  return {
    response: new Response(answer.body, { headers }),
    hops: { ...hops, shard: outcome.shard, rejected: [...hops.rejected, ...outcome.rejected] },
  };
}

/**
 * Settles a turn that has ended here. What its cell counted is charged; who gave up before that came (the client went, the
 * connection broke) has the cell end the turn and say it; and where no cell can say it any more, all that was reserved is.
 */
async function settleEnd(
  deps: EdgeDeps,
  facts: RequestFacts,
  reservation: Reservation,
  end: {
    readonly outcome: TurnOutcome | null;
    readonly cell: CellDescription | null;
    readonly turn: { readonly turnId: string; readonly attempt: number };
  },
): Promise<void> {
  const { outcome, cell, turn } = end;
  if (outcome !== null) return reservation.settle({ kind: "outcome", outcome });
  if (reservation.id === null) return;
  if (cell === null) return reservation.settle({ kind: "unknown" });
  const { requestId, traceparent, deadlineMs } = facts;
  const call = { requestId, traceparent, deadlineMs, signal: null, headTimeoutMs: null };
  const reply = await deps.cells.stopTurn(cell, turn, call);
  reservation.settle(reply.kind === "neverRan" ? { kind: "nothing" } : reply);
}

/** The stateless lane has no checkpoints. */
function relayPolicy(prepared: PreparedTurn): RelayPolicy {
  return {
    checkpointIntervalMs: 0,
    checkpointBytes: 0,
    ...failoverBounds,
    renderError: (error, fromSeq, isJournaled) =>
      renderErrorFrames(prepared.api, error, fromSeq, isJournaled),
  };
}

/** The end of a begun answer when no other cell is left to go on with it. */
const lostError: ErrorOutcome = {
  code: "interrupted",
  message:
    "The answer was interrupted and could not be continued. What was received is not complete.",
};

async function relay(
  deps: EdgeDeps,
  facts: RequestFacts,
  prepared: PreparedTurn,
  parts: {
    readonly request: Omit<TurnRequest, "cell" | "hop">;
    readonly cell: CellDescription;
    readonly answer: Extract<CellAnswer, { kind: "answer" }>;
    readonly hops: Hops;
    readonly reservation: Reservation;
    readonly abort: AbortController;
    readonly signal: AbortSignal;
  },
): Promise<LaneAnswer> {
  const { request, cell, answer, hops, reservation, abort, signal } = parts;
  const driver = new RelayDriver({
    lane: "stateless",
    isStreamed: true,
    turn: { turnId: request.turnId, attempt: 1, cell: cell.id, region: cell.region },
    policy: relayPolicy(prepared),
    deadlineMs: facts.deadlineMs,
    now: deps.now,
    object: null,
    failover: async (turn, { given, continuations, surplusTokens, reason }) => {
      deps.log("warn", "turnFailedOver", { requestId: facts.requestId, cell: turn.cell, reason });
      const attempt = turn.attempt + 1;
      const resume =
        given === null
          ? null
          : {
              frames: given.text,
              toSeq: given.toSeq,
              surplusTokens,
              continuations: continuations + 1,
            };
      const except = facts.jurisdiction.cells.find(({ id }) => id === turn.cell) ?? null;
      const moved = await dispatch(
        deps,
        facts,
        prepared,
        { ...request, attempt, resume },
        signal,
        except,
      );
      if (moved.answer === null || moved.cell === null)
        return { kind: "stopped", error: lostError };
      const { id, region } = moved.cell;
      return {
        kind: "moved",
        turn: { ...turn, attempt, cell: id, region },
        givenSeq: resume?.toSeq ?? 0,
        answer: moved.answer,
      };
    },
    reattach: () => Promise.resolve({ kind: "unreachable", failure: "connectionLost" }),
    clientSignal: facts.signal,
  });
  driver.start(answer);
  facts.waitUntil(
    driver.done.then(async ({ outcome, error }) => {
      // The cell ends the engine's request when this connection closes.
      abort.abort();
      const last = facts.jurisdiction.cells.find(({ id }) => id === driver.turn.cell) ?? null;
      // An error before the first byte is the whole answer: nothing was delivered.
      if (outcome === null && error !== null && driver.readable === null) {
        reservation.settle({ kind: "nothing" });
      } else {
        await settleEnd(deps, facts, reservation, { outcome, cell: last, turn: driver.turn });
      }
      if (error !== null) {
        const fields = { requestId: facts.requestId, cell: cell.id, code: error.code };
        deps.log("info", "streamEnded", fields);
      }
    }),
  );
  await driver.begun;
  if (driver.readable === null) {
    const { error } = await driver.done;
    return refuse(error ?? noCapacity, hops);
  }
  const shard = answer.headers.get("x-meridian-shard");
  const headers = answerHeaders({
    contentType: streamContentType,
    shard,
    level: driver.level,
    expectedWaitMs: driver.expectedWaitMs,
    rateLimit: reservation.headers,
  });
  return { response: new Response(driver.readable, { headers }), hops: { ...hops, shard } };
}

/** Worker → cell → shard, without any object but the ledger. The client's end cancels the cell's work. */
export async function runStateless(
  deps: EdgeDeps,
  facts: RequestFacts,
  prepared: PreparedTurn,
  engineBody: JsonObject,
): Promise<LaneAnswer> {
  const request = turnRequest(deps, facts, prepared, engineBody);
  const reservation = await reserve(deps, facts, prepared, request.turnId);
  const noCell: Hops = { hasObject: false, cell: null, shard: null, rejected: [] };
  if (reservation.kind === "refused") {
    return refuse(reservation.error, noCell, reservation.headers);
  }
  const abort = new AbortController();
  // Only a relay ends the cell's work itself; a whole answer is passed on and ends with the client alone.
  const signal = prepared.generation.stream
    ? AbortSignal.any([facts.signal, abort.signal])
    : facts.signal;
  const { answer, cell, rejected } = await dispatch(deps, facts, prepared, request, signal);
  const hops: Hops = { hasObject: false, cell, shard: null, rejected };
  if (answer?.kind !== "answer" || cell === null) {
    // Who is answered with an error got nothing; of who went, the cell says what it generated until then.
    if (answer?.kind === "unreachable" && facts.signal.aborted) {
      facts.waitUntil(settleEnd(deps, facts, reservation, { outcome: null, cell, turn: request }));
    } else {
      reservation.settle({ kind: "nothing" });
    }
    const level = answer?.kind === "refused" ? answer.level : null;
    return refuse(errorOf(answer), hops, { ...reservation.headers, ...levelHeaders(level) });
  }
  return prepared.generation.stream
    ? relay(deps, facts, prepared, { request, cell, answer, hops, reservation, abort, signal })
    : passThrough(answer, hops, reservation);
}
