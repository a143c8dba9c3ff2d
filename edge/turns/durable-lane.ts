import type { CellDescription } from "#shared/config/topology.ts";
import type { FenceAnswer, RelayPolicy, RelayTurn } from "#shared/conversation/relay-state.ts";
import type { FenceReply, TurnLease } from "#shared/conversation/rpc.ts";
import { invariant } from "#shared/errors/invariant.ts";
import type { ItemRecord } from "#shared/protocol/internal/turn-outcome.ts";
import type { CellId } from "#shared/residency/brands.ts";
import { ObjectUnavailableError } from "../ports.ts";
import type { CellAnswer, EdgeDeps } from "../ports.ts";
import type { Hops, RequestFacts } from "../request-facts.ts";
import { beginTurn, composeTurn, engineBodyOf, leasedRequest } from "./durable-turn.ts";
import type { DurableTurn, TurnPlace } from "./durable-turn.ts";
import { answerBackground } from "./background-turn.ts";
import { renderErrorFrames } from "./error-frames.ts";
import { answerHeaders, levelHeaders, refuse, streamContentType } from "./lane-answer.ts";
import type { LaneAnswer } from "./lane-answer.ts";
import type { PreparedTurn } from "./prepared-turn.ts";
import { RelayDriver } from "./relay-driver.ts";
import type { Failover, FailoverAnswer, RelayObject } from "./relay-driver.ts";
import { replayTurn } from "./replay-turn.ts";
import { reserve } from "./reservation.ts";
import type { Reservation } from "./reservation.ts";
import { cellHeadTimeoutMs, failoverBounds, noCapacity } from "./stateless-lane.ts";
import { itemIdMinter } from "./turn-ids.ts";

/** A checkpoint is due after one second or 16 KiB, whichever comes first; docs/architecture.md, one turn. */
const checkpointIntervalMs = 1_000;
const checkpointBytes = 16 * 1024;
/** Time that a cell has to say whether it still has a turn whose stream broke off, ms. */
const reattachTimeoutMs = 2_000;

function relayPolicy(prepared: PreparedTurn): RelayPolicy {
  return {
    checkpointIntervalMs,
    checkpointBytes,
    ...failoverBounds,
    renderError: (error, fromSeq, isJournaled) =>
      renderErrorFrames(prepared.api, error, fromSeq, isJournaled),
  };
}

/** One durable turn from its lease to its end. */
class DurableRun {
  readonly #deps: EdgeDeps;
  readonly #facts: RequestFacts;
  readonly #prepared: PreparedTurn;
  readonly #turn: DurableTurn;

  constructor(deps: EdgeDeps, facts: RequestFacts, prepared: PreparedTurn, turn: DurableTurn) {
    this.#deps = deps;
    this.#facts = facts;
    this.#prepared = prepared;
    this.#turn = turn;
  }

  cellOf(id: CellId): CellDescription {
    const cell = this.#facts.jurisdiction.cells.find((candidate) => candidate.id === id);
    invariant(cell !== undefined, "a leased cell is one of the jurisdiction");
    return cell;
  }

  #relayTurn(lease: TurnLease): RelayTurn {
    const { id, region } = this.cellOf(lease.cell);
    return { turnId: lease.turnId, attempt: lease.attempt, cell: id, region };
  }

  /** Asks the leased cell. The client's end does not cancel it: the turn goes on. */
  #dispatch(lease: TurnLease): Promise<CellAnswer> {
    const engine = engineBodyOf(this.#prepared, lease.items);
    if (!engine.ok) {
      return Promise.resolve({
        kind: "refused",
        error: engine.error,
        mayMove: false,
        shard: null,
        level: null,
        throttle: null,
      });
    }
    const { requestId, traceparent } = this.#facts;
    return this.#deps.cells.startTurn(
      this.cellOf(lease.cell),
      leasedRequest(this.#facts, this.#turn, lease, engine),
      {
        requestId,
        traceparent,
        deadlineMs: lease.deadlineMs,
        signal: null,
        headTimeoutMs: cellHeadTimeoutMs,
      },
    );
  }

  /** An object that cannot be reached is an answer too: the relay decides what it means. */
  async #fenced(call: Promise<FenceReply>): Promise<FenceAnswer> {
    try {
      return (await call).kind;
    } catch (error) {
      this.#logFailure(error);
      return "failed";
    }
  }

  #logFailure(error: unknown): void {
    const isKnown = error instanceof ObjectUnavailableError;
    this.#deps.log(isKnown ? "warn" : "error", "objectCallFailed", {
      requestId: this.#facts.requestId,
      reason: isKnown ? error.failure : "bug",
    });
  }

  /** Lets the cell forget frames that are journaled; in the background. */
  #acknowledge(turn: RelayTurn, seq: number): void {
    const { requestId, traceparent, deadlineMs, waitUntil } = this.#facts;
    const { turnId, attempt } = turn;
    const call = { requestId, traceparent, deadlineMs, signal: null, headTimeoutMs: null };
    waitUntil(this.#deps.cells.acknowledge(this.cellOf(turn.cell), { turnId, attempt, seq }, call));
  }

  #object(): RelayObject {
    const { object, scope } = this.#turn;
    return {
      checkpoint: async ({ turnId, attempt, ...turn }, segment) => {
        const reply = await this.#fenced(object.checkpoint({ scope, turnId, attempt, segment }));
        if (reply === "ok") this.#acknowledge({ turnId, attempt, ...turn }, segment.toSeq);
        return reply;
      },
      complete: async ({ turnId, attempt, ...turn }, segment, outcome) => {
        const reply = await this.#fenced(
          object.completeTurn({ scope, turnId, attempt, segment, outcome }),
        );
        if (reply === "ok" && segment !== null) {
          this.#acknowledge({ turnId, attempt, ...turn }, segment.toSeq);
        }
        return reply;
      },
    };
  }

  /** Has the object lease another cell, and asks that one. */
  async #failover(turn: RelayTurn, failover: Failover): Promise<FailoverAnswer> {
    const { object, scope, cells } = this.#turn;
    const { turnId, attempt } = turn;
    const { segment, reason, continuations, surplusTokens } = failover;
    this.#deps.log("warn", "turnFailedOver", {
      requestId: this.#facts.requestId,
      cell: turn.cell,
      reason,
    });
    try {
      const result = await object.failover({
        scope,
        turnId,
        attempt,
        segment,
        reason,
        continuations,
        surplusTokens,
        cells: cells.map(({ id }) => id),
      });
      if (result.kind === "superseded") return { kind: "stopped", error: null };
      if (result.kind === "stop") return { kind: "stopped", error: result.error };
      const { lease } = result;
      const answer = await this.#dispatch(lease);
      const givenSeq = lease.resume?.toSeq ?? 0;
      return { kind: "moved", turn: this.#relayTurn(lease), givenSeq, answer };
    } catch (error) {
      this.#logFailure(error);
      return { kind: "stopped", error: noCapacity };
    }
  }

  #reattach(turn: RelayTurn, afterSeq: number): Promise<CellAnswer> {
    const { requestId, traceparent, deadlineMs } = this.#facts;
    const { turnId, attempt } = turn;
    return this.#deps.cells.readFrames(
      this.cellOf(turn.cell),
      { turnId, attempt, afterSeq },
      { requestId, traceparent, deadlineMs, signal: null, headTimeoutMs: reattachTimeoutMs },
    );
  }

  /** Relays the turn and answers as soon as there is something to answer with. */
  async relay(lease: TurnLease, reservation: Reservation): Promise<LaneAnswer> {
    const { stream } = this.#prepared.generation;
    const driver = new RelayDriver({
      lane: "durable",
      isStreamed: stream,
      turn: this.#relayTurn(lease),
      policy: relayPolicy(this.#prepared),
      deadlineMs: lease.deadlineMs,
      now: this.#deps.now,
      object: this.#object(),
      failover: (from, failover) => this.#failover(from, failover),
      reattach: (from, afterSeq) => this.#reattach(from, afterSeq),
      clientSignal: this.#facts.signal,
    });
    const whole = (async () => {
      driver.start(await this.#dispatch(lease));
      const end = await driver.done;
      if (end.outcome !== null) reservation.settle({ kind: "outcome", outcome: end.outcome });
      return end;
    })();
    // Where the client goes first, the rest of the turn is relayed to the object for as long as the platform allows.
    this.#facts.waitUntil(whole);
    await Promise.race([driver.begun, whole]);
    const { ids } = this.#turn;
    const hops: Hops = {
      hasObject: true,
      cell: this.cellOf(driver.turn.cell),
      shard: driver.answer?.headers.get("x-meridian-shard") ?? null,
      rejected: [],
    };
    const parts = {
      conversationId: ids.conversationId,
      streamId: ids.streamId,
      rateLimit: reservation.headers,
    };
    if (driver.readable !== null) {
      const headers = answerHeaders({
        contentType: streamContentType,
        shard: hops.shard,
        level: driver.level,
        expectedWaitMs: driver.expectedWaitMs,
        ...parts,
      });
      return { response: new Response(driver.readable, { headers }), hops };
    }
    const { outcome, error } = await whole;
    const known: Hops = {
      ...hops,
      shard: outcome?.shard ?? hops.shard,
      rejected: outcome?.rejected ?? [],
    };
    const body = outcome?.body ?? null;
    if (error !== null || body === null) {
      return refuse(error ?? noCapacity, known, {
        ...reservation.headers,
        ...levelHeaders(driver.level),
        "x-meridian-conversation": ids.conversationId,
      });
    }
    const headers = answerHeaders({
      contentType: "application/json",
      shard: known.shard,
      level: driver.level,
      ...parts,
    });
    return { response: new Response(body, { headers }), hops: known };
  }
}

/** Worker → Conversation object → cell → shard. The turn goes on when the client goes, and can be read again by its id. */
export async function runDurable(
  deps: EdgeDeps,
  facts: RequestFacts,
  prepared: PreparedTurn,
  place: TurnPlace,
): Promise<LaneAnswer> {
  let at = place;
  let turn = await composeTurn(deps, facts, prepared, at.conversationRandom);
  const reservation = await reserve(deps, facts, prepared, turn.ids.turnId);
  const noCell: Hops = { hasObject: true, cell: null, shard: null, rejected: [] };
  if (reservation.kind === "refused") {
    return refuse(reservation.error, { ...noCell, hasObject: false }, reservation.headers);
  }
  const newItems = place.newItems(itemIdMinter(turn.ids.itemIdStem));
  let seedItems: readonly ItemRecord[] = [];
  try {
    let begun = await beginTurn(facts, turn, at, seedItems, newItems, reservation.id);
    if (begun.kind === "fork") {
      // The parent is no longer the last turn there: this one goes on in a conversation of its own.
      seedItems = begun.items;
      at = {
        ...at,
        mode: "create",
        parentTurnRandom: null,
        conversationRandom: place.forkRandom,
      };
      turn = await composeTurn(deps, facts, prepared, at.conversationRandom);
      begun = await beginTurn(facts, turn, at, seedItems, newItems, reservation.id);
    }
    switch (begun.kind) {
      case "lease":
        return await new DurableRun(deps, facts, prepared, turn).relay(begun.lease, reservation);
      case "background":
      case "replay": {
        // The object settles what was reserved for a turn of its own; a repeat's own reservation is for nothing.
        if (begun.turn.turnId !== turn.ids.turnId) reservation.settle({ kind: "nothing" });
        const { scope, object } = turn;
        const replay = { turn: begun.turn, scope, object, rateLimit: reservation.headers };
        return begun.turn.isBackground
          ? await answerBackground(deps, facts, replay)
          : await replayTurn(deps, facts, replay);
      }
      case "refused":
        reservation.settle({ kind: "nothing" });
        return refuse(begun.error, noCell, reservation.headers);
      case "fork":
        invariant(false, "a turn without a parent does not fork");
    }
  } catch (error) {
    // A turn that has begun all the same is settled by its object; where there is none, the reservation expires.
    const mayHaveBegun = error instanceof ObjectUnavailableError && error.mayHaveRun;
    if (!mayHaveBegun) reservation.settle({ kind: "nothing" });
    throw error;
  }
}
