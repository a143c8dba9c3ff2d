import { seededRandom } from "#dev/simulated-engine/model/step-time.ts";
import type { DispatchVerdict } from "#shared/admission/model-queue.ts";
import type { Priority } from "#shared/config/topology.ts";
import type { ShardId } from "#shared/residency/brands.ts";
import { nextHome, noHome } from "#shared/routing/next-home.ts";
import type { Home } from "#shared/routing/next-home.ts";
import {
  expectOutputTokens,
  observeOutputLength,
  unseenOutputLength,
} from "#shared/routing/output-length.ts";
import type { OutputLength } from "#shared/routing/output-length.ts";
import { defaultSelectionPolicy } from "#shared/routing/selection-policy.ts";
import type { PromptDemand } from "#shared/routing/shard-state.ts";
import { chunkTokens } from "#dev/capacity/request-trace.ts";
import { blockTokens } from "./engine/chunk-cache.ts";
import { createEventQueue } from "./event-queue.ts";
import { slowFactor, struckShards } from "./faults.ts";
import type { FaultName, FaultTimes } from "./faults.ts";
import type { FleetShard } from "./fleet.ts";
import type { PolicyEntry } from "./policies/catalogue.ts";
import { createSimCell } from "./sim-cell.ts";
import type { Dispatch } from "./sim-cell.ts";
import { createSimShard, simJurisdiction, simModel } from "./sim-shard.ts";
import type { SimShard } from "./sim-shard.ts";
import { createWaitingRoom } from "./waiting-room.ts";
import type { RunningWork } from "#shared/admission/model-admission.ts";
import type { Arrival } from "./workload.ts";

/** What a replay runs. */
export interface ReplayInput {
  readonly arrivals: readonly Arrival[];
  readonly fleet: readonly FleetShard[];
  readonly policy: PolicyEntry;
  readonly seed: number;
  /** Whether classes have ceilings and a place to wait; without it engines queue everything. */
  readonly hasAdmission: boolean;
  readonly fault: (FaultTimes & { readonly name: FaultName }) | null;
  /** From when to when each shard of the fleet takes prompts, ms; what it has begun it ends. Without: always. */
  readonly lifetimes?: readonly { readonly readyAtMs: number; readonly untilMs: number }[];
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
}

/** What a replay saw. */
export interface ReplayResult {
  readonly records: readonly RequestRecord[];
  /** When the breakers of all struck shards had opened; null: nothing was struck, or it was not noticed. */
  readonly detectedAtMs: number | null;
  readonly preemptions: number;
  /** Share of the arrivals' time in which the engines computed, mean over shards. */
  readonly busyShare: number;
}

/** A request between its arrival and its end. */
interface Attempt {
  readonly tried: ShardId[];
  /** Generated on shards that were lost: part of the prompt since. */
  base: number;
  dispatch: Dispatch | null;
  work: RunningWork | null;
}

/** Two more attempts, as the critical class has them: one layer retries. */
const attemptsMax = 3;
/** A refused connection within a region, ms. */
const refusalMs = 2;
/** How often those who wait are looked at when nothing ends, ms. */
const lookMs = 100;
/** A client's patience, ms: the time to first token that the batch class is promised. */
const deadlineMs = 30_000;

/** Replays arrivals in virtual time against the fleet. Deterministic: equal input gives equal output. */
export function replay(input: ReplayInput): ReplayResult {
  const { arrivals, fault, fleet, hasAdmission } = input;
  const random = seededRandom(input.seed * 104_729 + 3);
  const numbers = defaultSelectionPolicy;
  const shards = fleet.map((shard, index) =>
    createSimShard(shard, seededRandom(input.seed * 1_009 + index)),
  );
  const cell = createSimCell({ shards, policy: input.policy, numbers, random });
  const struck = fault === null ? [] : struckShards(fault.name, shards.length, random);
  const largestKvTokens = Math.max(...fleet.map(({ profile }) => profile.kvTokens));
  const lengths = new Map<number, OutputLength>();
  const events = createEventQueue();
  const waiting = createWaitingRoom(random, () =>
    shards.reduce(
      (sum, { state }) => sum + Math.max(0, state.concurrentRequestsMax - state.inFlight),
      0,
    ),
  );
  const homes = new Map<number, Home>();
  const seen = new Set<number>();
  const attempts = new Map<number, Attempt>();
  const dependents = new Map<number, number[]>();
  const records: RequestRecord[] = arrivals.map(({ atMs }) => ({
    arrivedAtMs: atMs,
    firstAtMs: -1,
    endedAtMs: -1,
    outcome: "pending",
    cachedTokens: 0,
    reusableTokens: 0,
  }));
  let detectedAtMs: number | null = null;
  let preemptions = 0;
  let isLooking = false;

  function arrivalOf(id: number): Arrival {
    const arrival = arrivals[id];
    if (arrival === undefined) throw new RangeError(`request ${id}: got none`);
    return arrival;
  }
  function recordOf(id: number): RequestRecord {
    const record = records[id];
    if (record === undefined) throw new RangeError(`request ${id}: got none`);
    return record;
  }
  function shardAt(at: number): SimShard {
    const shard = shards[at];
    if (shard === undefined) throw new RangeError(`shard ${at}: got none`);
    return shard;
  }

  function end(id: number, outcome: RequestRecord["outcome"], nowMs: number): void {
    const record = recordOf(id);
    record.outcome = outcome;
    record.endedAtMs = nowMs;
    attempts.delete(id);
    for (const next of dependents.get(id) ?? [])
      events.push(nowMs + arrivalOf(next).thinkMs, "arrive", next);
  }

  function demandOf(id: number, { base, tried }: Attempt, ceiling: number): PromptDemand {
    const { request, priority, tenant } = arrivalOf(id);
    const { session } = request;
    return {
      jurisdiction: simJurisdiction,
      model: simModel,
      inputTokens: request.inputTokens + base,
      outputTokens: expectOutputTokens(lengths.get(tenant) ?? unseenOutputLength, null).expected,
      priority,
      ceiling,
      homeShard: homes.get(session)?.shard ?? null,
      affinityKey: session < 0 ? "" : `${session}`,
      excluded: tried,
      allowed: null,
    };
  }

  /** Sends a request to a shard that is less full than the ceiling. */
  function dispatch(id: number, ceiling: number, nowMs: number): DispatchVerdict {
    const attempt = attempts.get(id);
    if (attempt === undefined) return "gone";
    const { request, tenant } = arrivalOf(id);
    const { chunks, inputTokens, outputTokens } = request;
    const sent = cell.dispatch(demandOf(id, attempt, ceiling), chunks, nowMs);
    if (sent === "full" || sent === "blocked") return sent;
    const { predictedEndSeconds, workTokens } = sent;
    attempt.work = waiting.began(
      { tenant: `${tenant}`, workTokens, predictedMs: 1_000 * predictedEndSeconds },
      nowMs,
    );
    const shard = shardAt(sent.shard);
    attempt.dispatch = sent;
    attempt.tried.push(shard.state.id);
    const before = shard.engine.endsAtMs();
    const isTaken =
      shard.ailment === "none" &&
      shard.engine.submit(
        {
          id,
          promptTokens: inputTokens + attempt.base,
          outputTokens: Math.max(1, outputTokens - attempt.base),
          chunks,
        },
        nowMs,
      );
    if (!isTaken) {
      events.push(nowMs + refusalMs, "refused", id);
      return "gone";
    }
    shard.requests.add(id);
    const after = shard.engine.endsAtMs();
    if (after !== before) events.push(after, "runEnd", sent.shard);
    return "gone";
  }

  function runEnd(at: number, nowMs: number): void {
    const shard = shardAt(at);
    // A run that was cut short has left its old end in the queue.
    if (shard.engine.endsAtMs() !== nowMs) return;
    const outcome = shard.engine.finishRun();
    preemptions += outcome.preempted;
    for (const { id, cachedTokens } of outcome.admitted) recordOf(id).cachedTokens += cachedTokens;
    for (const id of outcome.started) {
      const sent = attempts.get(id)?.dispatch;
      if (sent === undefined || sent === null) continue;
      cell.started(sent, nowMs);
      const record = recordOf(id);
      if (record.firstAtMs < 0) record.firstAtMs = nowMs;
    }
    for (const id of outcome.finished) {
      const attempt = attempts.get(id);
      const sent = attempt?.dispatch ?? null;
      if (attempt === undefined || sent === null) continue;
      const { request, tenant } = arrivalOf(id);
      shard.requests.delete(id);
      settle(attempt, sent, "success", nowMs);
      const length = lengths.get(tenant) ?? unseenOutputLength;
      lengths.set(tenant, observeOutputLength(length, request.outputTokens));
      if (request.session >= 0) {
        const home = homes.get(request.session) ?? noHome;
        const spill = sent.reason === "spill" ? "once" : null;
        homes.set(request.session, nextHome(home, shard.state.id, spill, nowMs));
      }
      end(id, "done", nowMs);
    }
    const nextMs = shard.engine.endsAtMs();
    if (nextMs < Infinity) events.push(nextMs, "runEnd", at);
    if (waiting.size() > 0 && outcome.finished.length + outcome.started.length > 0) admit(nowMs);
  }

  function settle(
    attempt: Attempt,
    sent: Dispatch,
    kind: "success" | "failure" | "release",
    nowMs: number,
  ): void {
    cell.ended(sent, kind, nowMs);
    if (attempt.work !== null) waiting.ended(attempt.work, kind === "success", nowMs);
    attempt.work = null;
    if (kind === "failure" && detectedAtMs === null && struck.length > 0)
      if (struck.every((at) => shardAt(at).breaker.trips > 0)) detectedAtMs = nowMs;
  }

  /** A begun answer is never held up by new ones. */
  function classOf(id: number, { base }: Attempt): Priority {
    return base > 0 ? "critical" : arrivalOf(id).priority;
  }

  function ceilingOf(priority: Priority): number {
    return hasAdmission ? waiting.ceilingOf(priority) : Infinity;
  }

  function admit(nowMs: number): void {
    waiting.serve(nowMs, {
      expire: (id) => end(id, "shed", nowMs),
      dispatch: (id, ceiling) => dispatch(id, ceiling, nowMs),
    });
  }

  function isLater(session: number): boolean {
    return homes.get(session)?.shard !== undefined;
  }

  function enter(id: number, attempt: Attempt, nowMs: number): void {
    if (!hasAdmission) return end(id, "failed", nowMs);
    const { request, tenant } = arrivalOf(id);
    const priority = classOf(id, attempt);
    const turn = {
      tenant: `${tenant}`,
      priority,
      isLaterTurn: isLater(request.session),
      costTokens: cell.workOf(demandOf(id, attempt, Infinity), request.chunks),
      deadlineMs: nowMs + deadlineMs,
    };
    const isIn = waiting.enter(id, turn, nowMs, (other) => end(other, "shed", nowMs));
    if (!isIn) return end(id, "shed", nowMs);
    if (!isLooking) events.push(nowMs + lookMs, "look", 0);
    isLooking = true;
  }

  /** Dispatches a request, or lets it wait behind those who do. */
  function offer(id: number, attempt: Attempt, nowMs: number): void {
    const priority = classOf(id, attempt);
    const verdict = waiting.isFirst(priority)
      ? dispatch(id, ceilingOf(priority), nowMs)
      : "blocked";
    if (verdict !== "gone") enter(id, attempt, nowMs);
  }

  /** The shard broke under a request: another one goes on with what is there. */
  function retry(id: number, nowMs: number): void {
    const attempt = attempts.get(id);
    if (attempt === undefined || attempt.dispatch === null) return;
    const sent = attempt.dispatch;
    const shard = shardAt(sent.shard);
    attempt.dispatch = null;
    shard.requests.delete(id);
    // An engine that refuses what can never fit is not sick.
    settle(attempt, sent, shard.ailment === "none" ? "release" : "failure", nowMs);
    if (attempt.tried.length >= attemptsMax) end(id, "failed", nowMs);
    else offer(id, attempt, nowMs);
  }

  function isLetIn(id: number, attempt: Attempt, nowMs: number): boolean {
    const { priority, request, tenant } = arrivalOf(id);
    const { session } = request;
    const costTokens = cell.workOf(demandOf(id, attempt, Infinity), request.chunks);
    const arrival = { tenant: `${tenant}`, priority, isLaterTurn: isLater(session), costTokens };
    return waiting.screen(arrival, `${session < 0 ? id : session}`, nowMs);
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
    const attempt: Attempt = { tried: [], base: 0, dispatch: null, work: null };
    attempts.set(id, attempt);
    if (hasAdmission && !isLetIn(id, attempt, nowMs)) return end(id, "shed", nowMs);
    offer(id, attempt, nowMs);
  }

  function slow(at: number, factor: number, nowMs: number): void {
    const { engine } = shardAt(at);
    engine.slow(factor, nowMs);
    const nextMs = engine.endsAtMs();
    if (nextMs < Infinity) events.push(nextMs, "runEnd", at);
  }

  function faultBegins(nowMs: number): void {
    for (const at of struck) {
      const shard = shardAt(at);
      if (fault?.name === "slow-shard") {
        slow(at, slowFactor, nowMs);
        continue;
      }
      shard.ailment = fault?.name === "lose-third" ? "dead" : "failing";
      if (shard.ailment === "failing") continue;
      const broken = [...shard.requests].map((id) => {
        const attempt = attempts.get(id);
        if (attempt !== undefined) attempt.base += shard.engine.generatedOf(id, nowMs);
        return id;
      });
      shard.engine.reset();
      cell.forget(at);
      for (const id of broken) retry(id, nowMs);
    }
  }

  function faultEnds(nowMs: number): void {
    for (const at of struck) {
      shardAt(at).ailment = "none";
      slow(at, 1, nowMs);
    }
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
  let isMeasured = false;
  for (let event = events.pop(); event !== undefined; event = events.pop()) {
    const { atMs, kind, target } = event;
    if (!isMeasured && atMs >= lastArrivalMs) {
      isMeasured = true;
      const busyMs = shards.reduce((sum, { engine }) => sum + engine.busyMs(), 0);
      busyShare = busyMs / shards.length / lastArrivalMs;
    }
    if (kind === "runEnd") runEnd(target, atMs);
    else if (kind === "arrive") arrive(target, atMs);
    else if (kind === "refused") retry(target, atMs);
    else if (kind === "faultBegins") faultBegins(atMs);
    else if (kind === "faultEnds") faultEnds(atMs);
    else if (kind === "shardLeaves") shardAt(target).state.isDraining = true;
    else if (kind === "shardReady") {
      shardAt(target).state.isDraining = false;
      admit(atMs);
    } else {
      isLooking = false;
      admit(atMs);
      if (waiting.size() > 0) {
        events.push(atMs + lookMs, "look", 0);
        isLooking = true;
      }
    }
  }
  return { records, detectedAtMs, preemptions, busyShare };
}
