import type { HedgeResult, TryResult } from "#shared/conversation/turn-events.ts";
import type { ShardFailure } from "#shared/conversation/turn-failure.ts";
import { isHedgeDue } from "#shared/conversation/turn-hedge.ts";
import {
  isLate,
  isOverdue,
  mayRetry,
  retryDelayMs,
  stallMs,
} from "#shared/conversation/turn-lateness.ts";
import type { LateContext } from "#shared/conversation/turn-lateness.ts";
import { defaultTurnPolicy } from "#shared/conversation/turn-policy.ts";
import type { TurnPolicy } from "#shared/conversation/turn-policy.ts";
import { defaultHedgePolicy } from "#shared/overload/hedge-budget.ts";
import type { DegradationLevel } from "#shared/overload/level-policy.ts";
import { defaultTryPlanPolicy } from "#shared/overload/try-plan.ts";
import { TurnBudgets } from "#shared/overload/turn-budgets.ts";
import type { CellOverload } from "./cell-overload.ts";
import type { RunOutcome } from "./engine/step-engine.ts";
import type { EventQueue } from "./event-queue.ts";
import type { CellParts } from "./policies/catalogue.ts";
import type { SimCell } from "./sim-cell.ts";
import type { SimDemand } from "./sim-demand.ts";
import type { SimShard } from "./sim-shard.ts";
import { hedgeCandidateOf, lateTurnOf, standingOf } from "./sim-turn.ts";
import type { SimTry, SimTurn } from "./sim-turn.ts";
import type { WaitingRoom } from "./waiting-room.ts";

/** What the turns of a replay did beside being answered; whole replay. */
export interface TryReport {
  /** Turns that were dispatched. */
  readonly turns: number;
  readonly promptTokens: number;
  /** Tries of another shard before the first token; and turns that failed because the budget had none left. */
  readonly retries: number;
  readonly retriesRefused: number;
  /** Tries that were given up: without a first token, crawling, silent. */
  readonly late: number;
  readonly overdue: number;
  readonly stalled: number;
  /** Prompt tokens that were computed for tries that were given up before their first token. */
  readonly latePrefillTokens: number;
  readonly hedges: Readonly<Record<HedgeResult, number>>;
  /** Prompt tokens of hedges, and those that were computed for whichever of the two lost. */
  readonly hedgePromptTokens: number;
  readonly hedgeWastedTokens: number;
}

/** The tries of a replay's turns: what the cell's turn machine does from a dispatch to its end, in virtual time. */
export interface SimTries {
  /** Sends a turn to a shard that is less full than the ceiling. */
  dispatch(turn: SimTurn, ceiling: number, nowMs: number): "gone" | "full" | "blocked";
  /** A shard has ended a run of steps. */
  ran(outcome: RunOutcome, nowMs: number): void;
  /** What a shard has given until now is seen: it is about to die. */
  observe(tried: number, nowMs: number): void;
  /** A shard has refused a prompt, or died under it. */
  broke(tried: number, nowMs: number): void;
  /** A try is looked at: late, overdue, stalled, to be hedged? */
  look(tried: number, nowMs: number): void;
  report(): TryReport;
}

/** Who is told what becomes of turns and tries. */
export interface TryNotes {
  readonly ended: (turn: SimTurn, how: "done" | "failed", nowMs: number) => void;
  /** The turn goes on at another shard. */
  readonly again: (turn: SimTurn, nowMs: number) => void;
  readonly firstToken: (tried: SimTry, nowMs: number) => void;
  /** A try leaves its shard, which still counts it. */
  readonly tryEnded: (tried: SimTry, result: TryResult, nowMs: number) => void;
}

export interface SimTriesOptions {
  readonly shards: readonly SimShard[];
  readonly cell: SimCell;
  readonly demand: SimDemand;
  /** Where turns for a model wait. */
  readonly roomOf: (model: string) => WaitingRoom;
  readonly overload: CellOverload;
  readonly level: () => DegradationLevel;
  readonly events: EventQueue;
  readonly random: () => number;
  /** Whether it is a whole cell: with classes, a queue, budgets, and these parts. */
  readonly isWhole: boolean;
  readonly parts: CellParts;
  readonly notes: TryNotes;
}

/** A refused connection within a region, ms. */
const refusalMs = 2;
/** How often a turn looks at the clock, ms; and one that has begun, whose tokens the engine model does not tell one by one. */
const lookMs = 100;
const begunLookMs = 1_000;

/** Without timeouts nothing is ever late. */
const patientPolicy: TurnPolicy = {
  ...defaultTurnPolicy,
  firstTokenTimeoutMs: Infinity,
  stallMinMs: Infinity,
};

/** Makes the tries of a replay that has not begun. */
export function createSimTries(options: SimTriesOptions): SimTries {
  const { cell, demand, events, isWhole, level, notes, overload, parts, random, roomOf, shards } =
    options;
  const policy = parts.hasTimeouts ? defaultTurnPolicy : patientPolicy;
  const budgets = new TurnBudgets(defaultHedgePolicy, defaultTryPlanPolicy, 0);
  const tries = new Map<number, SimTry>();
  const hedges = { won: 0, lost: 0, failed: 0, replaced: 0, dropped: 0 };
  const counts = {
    turns: 0,
    promptTokens: 0,
    retries: 0,
    retriesRefused: 0,
    late: 0,
    overdue: 0,
    stalled: 0,
    latePrefillTokens: 0,
    hedgePromptTokens: 0,
    hedgeWastedTokens: 0,
  };
  let dispatched = 0;

  function shardOf({ dispatch }: SimTry): SimShard {
    const shard = shards[dispatch.shard];
    if (shard === undefined) throw new RangeError(`shard ${dispatch.shard}: got none`);
    return shard;
  }

  function ceilingOf(turn: SimTurn): number {
    return isWhole ? roomOf(turn.model).ceilingOf(standingOf(turn)) : Infinity;
  }

  /** Sends a turn to a shard that is less full than the ceiling. */
  function send(turn: SimTurn, ceiling: number, nowMs: number): SimTry | "full" | "blocked" {
    const { arrival, base, chunks, inputTokens, outputTokens } = turn;
    const sent = cell.dispatch(demand.of(turn, ceiling), chunks, nowMs);
    if (sent === "full" || sent === "blocked") return sent;
    const { predicted, workTokens } = sent;
    const { interTokenSeconds, outputTokens: answer, ttftSeconds } = predicted;
    const work = roomOf(turn.model).began(
      {
        tenant: `${arrival.tenant}`,
        priority: arrival.priority,
        workTokens,
        predictedMs: 1_000 * (ttftSeconds + interTokenSeconds * Math.max(0, answer - 1)),
      },
      nowMs,
    );
    const isFirst = turn.dispatches === 0;
    if (isFirst) {
      budgets.dispatched(inputTokens);
      counts.turns += 1;
      counts.promptTokens += inputTokens;
    }
    const shard = shards[sent.shard];
    if (shard === undefined) throw new RangeError(`shard ${sent.shard}: got none`);
    const { id: shardId } = shard.state;
    const plan = budgets.plan(
      hedgeCandidateOf(turn),
      {
        shard: shardId,
        predicted: { ...predicted, outputTokensP90: demand.expected(turn).p90 },
        isFirst: isFirst && !turn.isBegun,
      },
      nowMs,
    );
    dispatched += 1;
    const tried: SimTry = {
      id: dispatched,
      turn,
      dispatch: sent,
      work,
      plan: parts.hasTimeouts ? plan : { ...plan, firstTokenTimeoutMs: Infinity, overdueMs: null },
      cachedTokens: 0,
      pieces: 0,
      lastAtMs: nowMs,
    };
    tries.set(tried.id, tried);
    turn.dispatches += 1;
    turn.triesInVain += 1;
    turn.excluded.push(shardId);
    const before = shard.engine.endsAtMs();
    const isTaken =
      shard.ailment !== "dead" &&
      shard.ailment !== "failing" &&
      shard.engine.submit(
        {
          id: tried.id,
          promptTokens: inputTokens + base,
          outputTokens: Math.max(1, outputTokens - base),
          chunks,
        },
        nowMs,
      );
    if (!isTaken) {
      events.push(nowMs + refusalMs, "broke", tried.id);
      return tried;
    }
    shard.tries.add(tried.id);
    const after = shard.engine.endsAtMs();
    if (after !== before) events.push(after, "runEnd", sent.shard);
    if (isWhole) watch(tried, nowMs);
    return tried;
  }

  /** When a try that has said nothing is looked at next: at what may happen first; what may not be done yet, a look later. */
  function watch({ dispatch, id, plan, turn }: SimTry, nowMs: number): void {
    const times = [
      policy.firstTokenTimeoutMs,
      plan?.firstTokenTimeoutMs ?? Infinity,
      parts.hasHedges && turn.hedge === "none" ? (plan?.hedgeMs ?? Infinity) : Infinity,
    ].map((afterMs) => {
      const atMs = dispatch.atMs + afterMs;
      return atMs > nowMs ? atMs : nowMs + lookMs;
    });
    const nextMs = Math.min(...times);
    if (nextMs < Infinity) events.push(nextMs, "look", id);
  }

  /** The try leaves its shard; gives the prompt tokens that were computed for it, where it is broken off. */
  function leave(tried: SimTry, result: TryResult, nowMs: number): number {
    const shard = shardOf(tried);
    tries.delete(tried.id);
    shard.tries.delete(tried.id);
    let computed = 0;
    if (result.kind !== "succeeded") {
      const before = shard.engine.endsAtMs();
      computed = shard.engine.abort(tried.id, nowMs);
      const after = shard.engine.endsAtMs();
      if (after !== before && after < Infinity) events.push(after, "runEnd", tried.dispatch.shard);
    }
    notes.tryEnded(tried, result, nowMs);
    cell.ended(tried.dispatch, result, nowMs);
    roomOf(tried.turn.model).ended(tried.work, result.kind === "succeeded", nowMs);
    return computed;
  }

  function endHedge(turn: SimTurn, how: HedgeResult, result: TryResult, nowMs: number): void {
    const { second } = turn;
    if (second === null) return;
    turn.second = null;
    turn.hedge = "spent";
    counts.hedgeWastedTokens += leave(second, result, nowMs);
    noteHedge(how, nowMs);
  }

  function noteHedge(how: HedgeResult, nowMs: number): void {
    hedges[how] += 1;
    budgets.hedgeEnded(how, nowMs);
  }

  /** The hedge is the turn's try from now on. */
  function promote(turn: SimTurn, how: "won" | "replaced", nowMs: number): void {
    turn.try = turn.second;
    turn.second = null;
    turn.hedge = "spent";
    noteHedge(how, nowMs);
  }

  function started(tried: SimTry, nowMs: number): void {
    const { dispatch: sent, turn } = tried;
    if (turn.second === tried) {
      const { try: first } = turn;
      if (first !== null) counts.hedgeWastedTokens += leave(first, { kind: "aborted" }, nowMs);
      promote(turn, "won", nowMs);
    } else endHedge(turn, "lost", { kind: "aborted" }, nowMs);
    cell.started(sent, nowMs);
    const ttftMs = nowMs - sent.atMs;
    const { id } = shardOf(tried).state;
    budgets.spoke(id, { predictedTtftSeconds: sent.predicted.ttftSeconds, ttftMs }, nowMs);
    turn.isBegun = true;
    turn.triesInVain = 0;
    turn.excluded = [id];
    tried.pieces = 1;
    tried.lastAtMs = nowMs;
    notes.firstToken(tried, nowMs);
    if (isWhole && parts.hasTimeouts) events.push(nowMs + begunLookMs, "look", tried.id);
  }

  function finished(tried: SimTry, nowMs: number): void {
    const { dispatch: sent, turn } = tried;
    const { base, outputTokens } = turn;
    tried.pieces = Math.max(1, outputTokens - base);
    leave(tried, { kind: "succeeded" }, nowMs);
    demand.answered(turn, shardOf(tried).state.id, sent.reason, nowMs);
    notes.ended(turn, "done", nowMs);
  }

  function contextOf(turn: SimTurn, nowMs: number): LateContext {
    return {
      request: { hop: 0, deadlineMs: Infinity },
      nowMs,
      policy,
      conditions: {
        get mayRetry() {
          return !isWhole || budgets.mayRetry(nowMs);
        },
        get mayHedge() {
          return mayHedge(turn, nowMs);
        },
        get elsewhere() {
          return {
            hasRoom: hasRoomElsewhere(turn, nowMs),
            hasNeighbour: false,
            hasWarmNeighbour: false,
          };
        },
        random,
      },
    };
  }

  function mayHedge(turn: SimTurn, nowMs: number): boolean {
    if (!parts.hasHedges) return false;
    const load = { level: level(), saturation: overload.inputs().saturation };
    const verdict = budgets.judgeHedge(hedgeCandidateOf(turn), load, nowMs);
    if (verdict === "level" && !turn.wasHedgeHeld) {
      turn.wasHedgeHeld = true;
      overload.hedgeHeld();
    }
    return verdict === "allowed";
  }

  /** Whether another shard than the turn's own has room for it at once. */
  function hasRoomElsewhere(turn: SimTurn, nowMs: number): boolean {
    const own = turn.try === null ? [] : [shardOf(turn.try).state.id];
    return (
      roomOf(turn.model).isFirst(standingOf(turn)) &&
      cell.hasRoom(demand.of(turn, ceilingOf(turn), own), nowMs)
    );
  }

  /** What an error of the try's shard looks like. */
  function failureOf(tried: SimTry): ShardFailure {
    const { ailment } = shardOf(tried);
    if (ailment === "failing") return { reason: "serverError", status: 500 };
    if (ailment === "dead")
      return { reason: tried.dispatch.firstAtMs === null ? "unreachable" : "cut" };
    // An engine that refuses what can never fit is not sick.
    return { reason: "saturated", status: 429 };
  }

  /** A try has failed: the hedge takes its place, or another shard, or the turn fails. */
  function fail(tried: SimTry, failure: ShardFailure, nowMs: number): void {
    const { turn } = tried;
    const result: TryResult = { kind: "failed", failure };
    if (turn.second === tried) return endHedge(turn, "failed", result, nowMs);
    const { isBegun } = turn;
    const late = lateTurnOf(turn, tried);
    const computed = leave(tried, result, nowMs);
    if (failure.reason === "firstTokenTimeout") counts.latePrefillTokens += computed;
    turn.try = null;
    if (turn.second !== null) return promote(turn, "replaced", nowMs);
    if (tried.dispatch.firstAtMs !== null) {
      turn.base += tried.pieces;
      turn.continuations += 1;
    }
    const isSpent = turn.continuations > policy.continuationsMax;
    if (isSpent || turn.triesInVain >= policy.triesMax) return notes.ended(turn, "failed", nowMs);
    // Begun answers go on elsewhere without a budget.
    if (isBegun || !isWhole) return notes.again(turn, nowMs);
    const context = contextOf(turn, nowMs);
    if (!mayRetry(late, context)) {
      counts.retriesRefused += 1;
      return notes.ended(turn, "failed", nowMs);
    }
    counts.retries += 1;
    budgets.retried();
    events.push(nowMs + retryDelayMs(context), "retry", turn.id);
  }

  /** A second shard that has room at once is asked the same; waiting for one would be no hedge. */
  function hedge(turn: SimTurn, nowMs: number): void {
    const sent = roomOf(turn.model).isFirst(standingOf(turn))
      ? send(turn, ceilingOf(turn), nowMs)
      : "full";
    if (sent === "full" || sent === "blocked") {
      turn.hedge = "spent";
      return;
    }
    turn.second = sent;
    turn.hedge = "running";
    budgets.hedged(turn.inputTokens);
    counts.hedgePromptTokens += turn.inputTokens;
  }

  function look(id: number, nowMs: number): void {
    const tried = tries.get(id);
    if (tried === undefined) return;
    const { dispatch: sent, turn } = tried;
    // The machine looks at the turn's own try; whichever of the two speaks first ends the other.
    if (turn.second === tried) return;
    const context = contextOf(turn, nowMs);
    if (sent.firstAtMs === null) {
      const late = lateTurnOf(turn, tried);
      if (isLate(late, context)) {
        counts.late += 1;
        return fail(tried, { reason: "firstTokenTimeout" }, nowMs);
      }
      if (isHedgeDue(late, nowMs, context.conditions)) hedge(turn, nowMs);
      return watch(tried, nowMs);
    }
    const pieces = shardOf(tried).engine.generatedOf(id, nowMs);
    if (pieces > tried.pieces) Object.assign(tried, { pieces, lastAtMs: nowMs });
    const late = lateTurnOf(turn, tried);
    if (isOverdue(late, context)) {
      counts.overdue += 1;
      return fail(tried, { reason: "overdue" }, nowMs);
    }
    if (nowMs - tried.lastAtMs >= stallMs(late, policy)) {
      counts.stalled += 1;
      return fail(tried, { reason: "stalled" }, nowMs);
    }
    events.push(nowMs + begunLookMs, "look", id);
  }

  return {
    dispatch(turn, ceiling, nowMs) {
      const sent = send(turn, ceiling, nowMs);
      if (sent === "full" || sent === "blocked") return sent;
      turn.try = sent;
      return "gone";
    },
    ran(outcome, nowMs) {
      for (const { cachedTokens, id } of outcome.admitted) {
        const tried = tries.get(id);
        if (tried !== undefined) tried.cachedTokens += cachedTokens;
      }
      for (const id of outcome.started) {
        const tried = tries.get(id);
        if (tried !== undefined) started(tried, nowMs);
      }
      for (const id of outcome.finished) {
        const tried = tries.get(id);
        if (tried !== undefined) finished(tried, nowMs);
      }
    },
    observe(id, nowMs) {
      const tried = tries.get(id);
      if (tried !== undefined) tried.pieces = shardOf(tried).engine.generatedOf(id, nowMs);
    },
    broke(id, nowMs) {
      const tried = tries.get(id);
      if (tried !== undefined) fail(tried, failureOf(tried), nowMs);
    },
    look,
    report: () => ({ ...counts, hedges }),
  };
}
