import { seededRandom } from "#dev/simulated-engine/model/step-time.ts";
import { chunkTokens } from "#dev/capacity/request-trace.ts";
import type { DegradationLevel } from "#shared/overload/level-policy.ts";
import { defaultSelectionPolicy } from "#shared/routing/selection-policy.ts";
import { createCellHealth } from "./cell-health.ts";
import type { HealthReport } from "./cell-health.ts";
import { createCellOverload } from "./cell-overload.ts";
import type { LevelReport } from "./cell-overload.ts";
import { blockTokens } from "./engine/chunk-cache.ts";
import { createEventQueue } from "./event-queue.ts";
import { ailmentOf, slowFactorOf, struckShards } from "./faults.ts";
import type { FaultName, FaultTimes } from "./faults.ts";
import { nothingAllowed } from "./fleet.ts";
import type { FleetShard, TenantRules } from "./fleet.ts";
import { noParts } from "./policies/catalogue.ts";
import type { PolicyEntry } from "./policies/catalogue.ts";
import { createSimCell } from "./sim-cell.ts";
import { createSimDemand } from "./sim-demand.ts";
import { createSimShard } from "./sim-shard.ts";
import type { SimShard } from "./sim-shard.ts";
import { createSimTries } from "./sim-tries.ts";
import type { TryReport } from "./sim-tries.ts";
import { newSimTurn } from "./sim-turn.ts";
import type { SimTurn } from "./sim-turn.ts";
import { createSimTurns } from "./sim-turns.ts";
import { createWaitingRoom } from "./waiting-room.ts";
import type { WaitingRoom } from "./waiting-room.ts";
import type { Arrival } from "./workload.ts";

/** What a replay runs. */
export interface ReplayInput {
  readonly arrivals: readonly Arrival[];
  readonly fleet: readonly FleetShard[];
  readonly policy: PolicyEntry;
  readonly seed: number;
  /** Whether the cell is whole: classes with ceilings, a queue, and the policy's parts; without it engines queue everything. */
  readonly hasAdmission: boolean;
  readonly fault: (FaultTimes & { readonly name: FaultName }) | null;
  /** From when to when each shard of the fleet takes prompts, ms; what it has begun it ends. Without: always. */
  readonly lifetimes?: readonly { readonly readyAtMs: number; readonly untilMs: number }[];
  /** What the tenants allow of the levels; nothing by default. */
  readonly tenants?: TenantRules;
}

/** What became of a request; times are ms of virtual time, -1 when it did not come so far. */
export interface RequestRecord {
  arrivedAtMs: number;
  firstAtMs: number;
  endedAtMs: number;
  outcome: "pending" | "done" | "shed" | "failed" | "unservable";
  cachedTokens: number;
  /** Tokens of the prompt that some shard had computed before. */
  reusableTokens: number;
  /** Of the answer, as far as a level allowed it. */
  outputTokens: number;
}

/** What a whole cell did beside choosing; whole replay, warm-up included. */
export interface CellReport {
  readonly tries: TryReport;
  readonly levels: LevelReport;
  readonly health: HealthReport;
}

/** What a replay saw. */
export interface ReplayResult {
  readonly records: readonly RequestRecord[];
  /** When all struck shards were kept away from, by breaker or by weight; null: nothing was struck, or it was not noticed. */
  readonly detectedAtMs: number | null;
  readonly preemptions: number;
  /** Share of the arrivals' time in which the engines computed, mean over shards. */
  readonly busyShare: number;
  /** Null where the cell was not whole. */
  readonly cell: CellReport | null;
}

/** How often a cell looks at its shards and its queue, ms. */
const tickMs = 100;

/** Replays arrivals in virtual time against the fleet. Deterministic: equal input gives equal output. */
export function replay(input: ReplayInput): ReplayResult {
  const { arrivals, fault, fleet, hasAdmission } = input;
  const parts = hasAdmission ? input.policy.parts : noParts;
  const random = seededRandom(input.seed * 104_729 + 3);
  const shards = fleet.map((shard, index) =>
    createSimShard(shard, seededRandom(input.seed * 1_009 + index)),
  );
  const events = createEventQueue();
  // A level that is switched off is still watched.
  const level = (): DegradationLevel => (parts.hasLevels ? overload.level() : 0);
  const rooms = new Map(
    [...new Set(shards.map(({ state }) => state.model))].map((model) => {
      const own = shards.filter(({ state }) => state.model === model);
      const freeSlots = (): number =>
        own.reduce(
          (sum, { state }) => sum + Math.max(0, state.concurrentRequestsMax - state.inFlight),
          0,
        );
      return [model, createWaitingRoom(random, freeSlots, level)] as const;
    }),
  );
  const everyRoom = [...rooms.values()];
  const roomOf = (model: string): WaitingRoom => {
    const room = rooms.get(model);
    if (room === undefined) throw new RangeError(`model ${model}: got no shards`);
    return room;
  };
  const isAnyWaiting = (): boolean => everyRoom.some((room) => room.size() > 0);
  const cell = createSimCell({
    shards,
    policy: input.policy,
    numbers: defaultSelectionPolicy,
    random,
    healthOf: (shard) => health.weightOf(shard),
    level,
  });
  const overload = createCellOverload({
    shards,
    refresh: (nowMs) => cell.refresh(nowMs),
    queueDelay: (nowMs) => Math.max(...everyRoom.map((room) => room.queueDelay(nowMs))),
    tenants: input.tenants ?? nothingAllowed,
    random,
  });
  const health = createCellHealth({ shards, cell, events, random });
  const demand = createSimDemand();
  const turns = createSimTurns({
    cell,
    demand,
    roomOf,
    rooms: everyRoom,
    overload,
    tries: () => tries,
    isWhole: hasAdmission,
    parts,
    ended,
  });
  const tries = createSimTries({
    shards,
    cell,
    demand,
    roomOf,
    overload,
    level,
    events,
    random,
    isWhole: hasAdmission,
    parts,
    notes: {
      ended,
      again: (turn, nowMs) => turns.offer(turn, nowMs),
      firstToken({ cachedTokens, turn }, nowMs) {
        const record = recordOf(turn.id);
        record.cachedTokens += cachedTokens;
        if (record.firstAtMs < 0) record.firstAtMs = nowMs;
      },
      tryEnded(tried, result, nowMs) {
        if (parts.hasHealth) health.answered(tried, result, nowMs);
      },
    },
  });
  const struck = fault === null ? [] : struckShards(fault.name, shards.length, random);
  const largestKvTokens = Math.max(
    ...fleet.map(({ isSmaller = false, profile }) => (isSmaller ? 0 : profile.kvTokens)),
  );
  const seen = new Set<number>();
  const dependents = new Map<number, number[]>();
  const records: RequestRecord[] = arrivals.map(({ atMs }) => ({
    arrivedAtMs: atMs,
    firstAtMs: -1,
    endedAtMs: -1,
    outcome: "pending",
    cachedTokens: 0,
    reusableTokens: 0,
    outputTokens: 0,
  }));
  let open = records.length;
  let detectedAtMs: number | null = null;
  let preemptions = 0;
  let ticks = 0;
  let lastEndMs = 0;

  function recordOf(id: number): RequestRecord {
    const record = records[id];
    if (record === undefined) throw new RangeError(`request ${id}: got none`);
    return record;
  }
  function arrivalOf(id: number): Arrival {
    const arrival = arrivals[id];
    if (arrival === undefined) throw new RangeError(`request ${id}: got none`);
    return arrival;
  }
  function shardAt(at: number): SimShard {
    const shard = shards[at];
    if (shard === undefined) throw new RangeError(`shard ${at}: got none`);
    return shard;
  }

  function ended(turn: SimTurn, how: "done" | "shed" | "failed" | "refused", nowMs: number): void {
    recordOf(turn.id).outputTokens = turn.outputTokens;
    turns.forget(turn);
    if (how === "done") overload.answered(turn);
    if (how !== "refused") overload.ended(how, nowMs);
    end(turn.id, how === "refused" ? "shed" : how, nowMs);
  }

  function end(id: number, outcome: RequestRecord["outcome"], nowMs: number): void {
    const record = recordOf(id);
    record.outcome = outcome;
    record.endedAtMs = nowMs;
    open -= 1;
    lastEndMs = nowMs;
    for (const next of dependents.get(id) ?? [])
      events.push(nowMs + arrivalOf(next).thinkMs, "arrive", next);
  }

  function arrive(id: number, nowMs: number): void {
    const { request } = arrivalOf(id);
    const record = recordOf(id);
    record.arrivedAtMs = nowMs;
    if (request.inputTokens + request.outputTokens + 2 * blockTokens > largestKvTokens)
      return end(id, "unservable", nowMs);
    let known = 0;
    while (known < request.chunks.length && seen.has(request.chunks[known] ?? 0)) known += 1;
    record.reusableTokens = Math.min(request.inputTokens - 1, known * chunkTokens);
    for (let at = known; at < request.chunks.length; at += 1) seen.add(request.chunks[at] ?? 0);
    turns.arrive(newSimTurn(id, arrivalOf(id)), nowMs);
  }

  function runEnd(at: number, nowMs: number): void {
    const shard = shardAt(at);
    // A run that was cut short has left its old end in the queue.
    if (shard.engine.endsAtMs() !== nowMs) return;
    const outcome = shard.engine.finishRun();
    preemptions += outcome.preempted;
    tries.ran(outcome, nowMs);
    if (parts.hasHealth) health.ran(outcome, nowMs);
    const nextMs = shard.engine.endsAtMs();
    if (nextMs < Infinity) events.push(nextMs, "runEnd", at);
    if (isAnyWaiting() && outcome.finished.length + outcome.started.length > 0) turns.serve(nowMs);
  }

  function slow(at: number, factor: number, nowMs: number): void {
    const { engine } = shardAt(at);
    engine.slow(factor, nowMs);
    const nextMs = engine.endsAtMs();
    if (nextMs < Infinity) events.push(nextMs, "runEnd", at);
  }

  function faultBegins(name: FaultName, nowMs: number): void {
    for (const at of struck) {
      const shard = shardAt(at);
      shard.ailment = ailmentOf(name);
      const factor = slowFactorOf(name);
      if (factor !== 1) slow(at, factor, nowMs);
      if (shard.ailment !== "dead") continue;
      const broken = [...shard.tries];
      for (const tried of broken) tries.observe(tried, nowMs);
      shard.engine.reset();
      cell.forget(at);
      if (!parts.hasHealth) shard.isAlive = false;
      for (const tried of broken) tries.broke(tried, nowMs);
    }
  }

  function faultEnds(nowMs: number): void {
    for (const at of struck) {
      shardAt(at).ailment = "none";
      if (!parts.hasHealth) shardAt(at).isAlive = true;
      slow(at, 1, nowMs);
    }
  }

  /** Whether all struck shards are kept away from now. */
  function detect(nowMs: number): void {
    if (detectedAtMs !== null || struck.length === 0 || fault === null || nowMs < fault.fromMs)
      return;
    const isAway = (at: number): boolean => {
      const { breaker, state } = shardAt(at);
      return breaker.trips > 0 || health.weightOf(state.id) < 1;
    };
    if (struck.every(isAway)) detectedAtMs = nowMs;
  }

  function tick(nowMs: number): void {
    if (parts.hasLevels || parts.hasHedges) overload.tick(nowMs);
    turns.tick(nowMs);
    if (hasAdmission) health.scrapeAt(ticks, nowMs);
    if (parts.hasHealth) health.tick(ticks, nowMs);
    ticks += 1;
    if (isAnyWaiting()) turns.serve(nowMs);
    if (open > 0) events.push(nowMs + tickMs, "tick", 0);
  }

  arrivals.forEach(({ atMs, after }, id) => {
    if (after < 0) events.push(atMs, "arrive", id);
    else dependents.set(after, [...(dependents.get(after) ?? []), id]);
  });
  const lastArrivalMs = arrivals.reduce((last, { atMs }) => Math.max(last, atMs), 1);
  let busyShare = 0;
  if (fault !== null) {
    events.push(fault.fromMs, "faultBegins", 0);
    if (fault.untilMs < Infinity) events.push(fault.untilMs, "faultEnds", 0);
  }
  input.lifetimes?.forEach(({ readyAtMs, untilMs }, at) => {
    shardAt(at).state.isDraining = readyAtMs > 0;
    if (readyAtMs > 0) events.push(readyAtMs, "shardReady", at);
    if (untilMs < Infinity) events.push(untilMs, "shardLeaves", at);
  });
  if (hasAdmission) events.push(0, "tick", 0);
  let isMeasured = false;
  for (let event = events.pop(); event !== undefined; event = events.pop()) {
    const { atMs, kind, target } = event;
    if (!isMeasured && atMs >= lastArrivalMs) {
      isMeasured = true;
      const busyMs = shards.reduce((sum, { engine }) => sum + engine.busyMs(), 0);
      busyShare = busyMs / shards.length / lastArrivalMs;
    }
    switch (kind) {
      case "runEnd":
        runEnd(target, atMs);
        break;
      case "arrive":
        arrive(target, atMs);
        break;
      case "broke":
        tries.broke(target, atMs);
        detect(atMs);
        break;
      case "look":
        tries.look(target, atMs);
        break;
      case "retry":
        turns.retry(target, atMs);
        break;
      case "tick":
        tick(atMs);
        detect(atMs);
        break;
      case "canary":
        health.canaryLate(target, atMs);
        break;
      case "faultBegins":
        if (fault !== null) faultBegins(fault.name, atMs);
        detect(atMs);
        break;
      case "faultEnds":
        faultEnds(atMs);
        break;
      case "shardLeaves":
        shardAt(target).state.isDraining = true;
        break;
      case "shardReady":
        shardAt(target).state.isDraining = false;
        turns.serve(atMs);
        break;
    }
  }
  const cellReport: CellReport | null = hasAdmission
    ? { tries: tries.report(), levels: overload.report(lastEndMs), health: health.report() }
    : null;
  return { records, detectedAtMs, preemptions, busyShare, cell: cellReport };
}
