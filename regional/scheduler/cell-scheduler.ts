import { ModelAdmission } from "#shared/admission/model-admission.ts";
import type { DispatchVerdict, NextTurn } from "#shared/admission/model-queue.ts";
import type { QueuePolicy } from "#shared/admission/queue-policy.ts";
import type { RefusalReason } from "#shared/admission/refusal.ts";
import { keepsRoomAbove } from "#shared/overload/level-switches.ts";
import type { DegradationLevel } from "#shared/overload/level-policy.ts";
import type { Queued, QueuedTurn } from "#shared/admission/tenant-line.ts";
import { meetCold } from "#shared/warming/meet-cold.ts";
import { priorities } from "#shared/config/topology.ts";
import type { Priority } from "#shared/config/topology.ts";
import type { Clock } from "../ports/clock.ts";
import type { RandomSource } from "../ports/random.ts";
import { PatientRoom } from "./patient-room.ts";
import type { Attended, Patient } from "./patient-room.ts";
import type { CellScheduler, Slot, SlotReply, SlotRequest } from "./scheduler.ts";
import type { ShardBook } from "./shard-book.ts";
import {
  deadlineReasons,
  fitReasons,
  isArrival,
  ownRejections,
  standingOf,
  subjectOf,
  told,
} from "./slot-rules.ts";

export interface SchedulerOptions {
  readonly book: ShardBook;
  readonly clock: Clock;
  readonly random: RandomSource;
  readonly policy: QueuePolicy;
  /** Whether another cell of the jurisdiction has shards of the model; then nobody waits here for the first one to come up. */
  readonly hasNeighbour?: (model: string) => boolean;
  /** What is known beyond this cell's shards, and who starts them; left out: nobody does, and no other cell runs any. */
  readonly warmth?: Warmth;
  /** Degradation level of the cell; 0 by default. */
  readonly level?: () => DegradationLevel;
  /** Told of every turn that is not dispatched. */
  readonly onRefused?: (model: string, priority: Priority, reason: RefusalReason) => void;
}

/** The cold side of a cell, as the scheduler needs it. */
export interface Warmth {
  /** A prompt found no room on running shards of the model, and cold ones: one of those is wanted. */
  wanted(model: string): void;
  /** Whether another cell of the jurisdiction is thought to have a running shard of the model. */
  hasWarmNeighbour(model: string): boolean;
}

const noWarmth: Warmth = { wanted: () => {}, hasWarmNeighbour: () => false };

/** Classes for which a cold shard is started because the running ones are full; the others wait for those. */
const startingClasses: ReadonlySet<Priority> = new Set(["critical", "interactive"]);

/** Why a turn waits for something else than a free slot, and for how long it may. */
interface Room {
  readonly expiry: "roomTimeout" | "coldTimeout";
  readonly msMax?: number;
}

interface Waiter {
  readonly request: SlotRequest;
  /** What it is told when its time is over, unless that is its deadline. */
  readonly expiry: "queueTimeout" | Room["expiry"];
  readonly settle: (reply: SlotReply) => void;
  readonly stopTimer: () => void;
}

type Chosen = SlotReply & { readonly kind: "chosen" };
type NotChosen =
  /** `late`: its deadline has passed; `tooShort`: it would pass before the first token. */
  | { readonly kind: "full" | "blocked" | "late" | "tooShort" }
  /** None runs; the first that could is expected to in so long, ms. */
  | { readonly kind: "cold"; readonly readyInMs: number }
  | (SlotReply & { readonly kind: "none" });

/** The scheduler of one cell. */
export function createScheduler(options: SchedulerOptions): CellScheduler {
  const { book, clock, random, policy } = options;
  const {
    level = () => 0,
    hasNeighbour = () => true,
    onRefused = () => {},
    warmth = noWarmth,
  } = options;
  const models = new Map<string, ModelAdmission<Waiter>>();
  for (const { model } of book.statuses(clock.nowMs())) {
    models.set(model, new ModelAdmission<Waiter>(policy));
  }
  const rooms = new Map([...models.keys()].map((model) => [model, new PatientRoom()] as const));
  let waitingCount = 0;
  let isDraining = false;
  const unit = (): number => random.unit();

  function refuse(
    { model, priority }: SlotRequest,
    reason: RefusalReason,
    reply: (reply: SlotReply) => void,
    retryAfterMs?: number,
  ): () => void {
    onRefused(model, priority, reason);
    const wait = retryAfterMs === undefined ? {} : { retryAfterMs };
    reply({ kind: "none", reason: told[reason], rejected: [], ...wait });
    return () => {};
  }

  function choose(
    request: SlotRequest,
    enqueuedAtMs: number,
    ceiling: number,
    admission: ModelAdmission<Waiter>,
  ): Chosen | NotChosen {
    const nowMs = clock.nowMs();
    if (request.deadlineMs <= nowMs) return { kind: "late" };
    const choice = book.choose(request, nowMs, ceiling);
    if (choice.kind === "none") {
      const { readyInMs, reason, rejected } = choice;
      const isWorthAStart = reason === "full" && startingClasses.has(request.priority);
      if (readyInMs !== undefined && isWorthAStart) warmth.wanted(request.model);
      if (reason === "cold") return { kind: "cold", readyInMs: readyInMs ?? 0 };
      if (reason !== "full") return { kind: "none", reason, rejected };
      const isOwn = rejected.some((one) => ownRejections.has(one.reason));
      return { kind: isOwn ? "blocked" : "full" };
    }
    const { demand, predicted, reason, rejected, runnersUp, score, shard, spill } = choice;
    if (nowMs + 1_000 * predicted.ttftSeconds > request.deadlineMs) return { kind: "tooShort" };
    const dispatch = book.begin(choice, nowMs);
    const { interTokenSeconds, outputTokens, ttftSeconds } = predicted;
    const running = admission.began(
      {
        tenant: request.tenant,
        priority: request.priority,
        workTokens: demand.workTokens,
        predictedMs: 1_000 * (ttftSeconds + interTokenSeconds * Math.max(0, outputTokens - 1)),
      },
      nowMs,
    );
    let isReleased = false;
    const slot: Slot = {
      shard,
      reason,
      spill,
      score,
      runnersUp,
      predicted,
      firstToken() {
        if (!isReleased) book.firstToken(dispatch, clock.nowMs());
      },
      release(result, seen) {
        if (isReleased) return;
        isReleased = true;
        book.end(dispatch, result, seen, clock.nowMs());
        admission.ended(running, result.kind === "succeeded", clock.nowMs());
        serve(admission, rooms.get(request.model));
      },
    };
    const queueWaitMs = Math.max(0, nowMs - enqueuedAtMs);
    return { kind: "chosen", slot, rejected, queueWaitMs };
  }

  /** What follows when a turn has left the queue. */
  function left({ item }: Queued<Waiter>): void {
    waitingCount -= 1;
    item.stopTimer();
  }

  function drop(
    admission: ModelAdmission<Waiter>,
    queued: Queued<Waiter>,
    reason: RefusalReason,
  ): void {
    if (admission.queue.remove(queued)) evict(admission, queued, reason);
  }

  /** Answers a turn that was taken out of the queue. */
  function evict(
    admission: ModelAdmission<Waiter>,
    queued: Queued<Waiter>,
    reason: RefusalReason,
  ): void {
    left(queued);
    const { request, settle } = queued.item;
    if (reason === "coldTimeout") return void refuse(request, reason, settle, coldRetryMs(request));
    const mayReturn = told[reason] === "shed" || told[reason] === "queueTimeout";
    const retryAfterMs = mayReturn
      ? admission.retryAfterMs(queued.turn.costTokens, clock.nowMs(), unit)
      : undefined;
    refuse(request, reason, settle, retryAfterMs);
  }

  /** When a start that was not seen to end is worth asking for again, ms. */
  function coldRetryMs(request: SlotRequest): number {
    const choice = book.choose(request, clock.nowMs());
    return Math.max(1_000, (choice.kind === "none" ? choice.readyInMs : undefined) ?? 0);
  }

  /** Whether turns wait for the first shard of their model to come up. */
  function isStarting(model: string, admission: ModelAdmission<Waiter>): boolean {
    return admission.isStarting && !hasNeighbour(model);
  }

  function dispatch(
    { ceiling, queued }: NextTurn<Waiter>,
    admission: ModelAdmission<Waiter>,
  ): DispatchVerdict {
    const { request, settle } = queued.item;
    const reply = choose(request, queued.enqueuedAtMs, ceiling, admission);
    switch (reply.kind) {
      case "full":
      case "blocked":
        return reply.kind;
      case "cold":
        warmth.wanted(request.model);
        return "full";
      case "late":
      case "tooShort":
        drop(admission, queued, deadlineReasons[reply.kind]);
        return "gone";
      case "none":
        if (reply.reason === "unhealthy" && isStarting(request.model, admission)) return "full";
        admission.queue.remove(queued);
        break;
      case "chosen":
        admission.queue.take(queued);
        break;
    }
    left(queued);
    const isColdWait = queued.item.expiry === "coldTimeout";
    settle(isColdWait && reply.kind === "chosen" ? { ...reply, isColdWait } : reply);
    return "gone";
  }

  /** What there is for a begun answer that waits for a shard to come back. */
  function attend(
    { reply, request, sinceMs }: Patient,
    admission: ModelAdmission<Waiter>,
    take: () => void,
  ): Attended {
    const ceiling = admission.queue.ceilingOf(standingOf(request));
    const chosen = choose(request, sinceMs, ceiling, admission);
    switch (chosen.kind) {
      case "chosen":
        take();
        reply(chosen);
        return "answered";
      case "late":
      case "tooShort":
        take();
        refuse(request, deadlineReasons[chosen.kind], reply);
        return "answered";
      case "cold":
        warmth.wanted(request.model);
        return "nothingThere";
      case "blocked":
        return "notForIt";
      case "full":
        return "nothingThere";
      case "none":
        return chosen.rejected.some(({ reason }) => fitReasons.has(reason))
          ? "notForIt"
          : "nothingThere";
    }
  }

  function waitPatiently(
    request: SlotRequest,
    room: PatientRoom,
    admission: ModelAdmission<Waiter>,
    reply: (reply: SlotReply) => void,
  ): () => void {
    let isAnswered = false;
    const patient: Patient = {
      request,
      sinceMs: clock.nowMs(),
      reply(given) {
        isAnswered = true;
        reply(given);
      },
    };
    attend(patient, admission, () => {});
    const leave = isAnswered ? () => {} : room.add(patient);
    if (leave === null) reply({ kind: "none", reason: "unhealthy", rejected: [] });
    return leave ?? (() => {});
  }

  function serve(admission: ModelAdmission<Waiter>, room: PatientRoom | undefined): void {
    room?.serve((patient, take) => attend(patient, admission, take));
    if (admission.queue.length === 0) return;
    admission.queue.serve(clock.nowMs(), (next) => dispatch(next, admission));
  }

  function enqueue(
    request: SlotRequest,
    admission: ModelAdmission<Waiter>,
    room: Room | null,
    reply: (reply: SlotReply) => void,
  ): () => void {
    const nowMs = clock.nowMs();
    const { deadlineMs, isLaterTurn = false } = request;
    const costTokens = book.workOf(request, nowMs);
    const turn: QueuedTurn = {
      ...standingOf(request),
      isLaterTurn,
      costTokens,
      deadlineMs,
    };
    const predict = (share: number) => book.foresee(request, share, nowMs);
    const { decision, evicted } = admission.admit(
      turn,
      {
        waitingInCell: waitingCount,
        isRoom: room !== null,
        ...(room?.msMax === undefined ? {} : { roomMsMax: room.msMax }),
        predict,
      },
      nowMs,
    );
    if (decision.kind === "refuse") {
      const wait = admission.retryAfterMs(costTokens, nowMs, unit);
      return refuse(request, decision.reason, reply, wait);
    }
    if (evicted !== null) drop(admission, evicted, "displaced");
    const expiry = room?.expiry ?? "queueTimeout";
    const stopTimer = clock.after(decision.expiresAtMs - nowMs, () => {
      drop(admission, queued, clock.nowMs() >= deadlineMs ? "deadlinePassed" : expiry);
    });
    const queued = admission.add(turn, { request, expiry, settle: reply, stopTimer }, nowMs);
    waitingCount += 1;
    return () => {
      if (admission.queue.remove(queued)) left(queued);
    };
  }

  /** What becomes of a turn that finds none but cold shards. */
  function meet(
    request: SlotRequest,
    readyInMs: number,
    admission: ModelAdmission<Waiter>,
    reply: (reply: SlotReply) => void,
  ): () => void {
    const { deadlineMs, mayMove = false, model } = request;
    const hasWarmNeighbour = mayMove && warmth.hasWarmNeighbour(model);
    const nowMs = clock.nowMs();
    const decision = meetCold({ readyInMs, deadlineMs, mayMove, hasWarmNeighbour }, nowMs);
    // What a neighbour answers needs no start here: a region that may scale to zero stays there.
    if (decision.kind !== "move") warmth.wanted(model);
    if (decision.kind !== "wait") {
      return refuse(request, decision.reason, reply, decision.retryAfterMs);
    }
    request.onColdWait?.(readyInMs);
    const room: Room = { expiry: "coldTimeout", msMax: decision.expiresAtMs - nowMs };
    return enqueue(request, admission, room, reply);
  }

  function acquire(request: SlotRequest, reply: (reply: SlotReply) => void): () => void {
    if (isDraining) return refuse(request, "draining", reply);
    const admission = models.get(request.model);
    if (admission === undefined) {
      reply({ kind: "none", reason: "noShard", rejected: [] });
      return () => {};
    }
    const room = rooms.get(request.model);
    if (request.isPatient === true && room !== undefined) {
      return waitPatiently(request, room, admission, reply);
    }
    const nowMs = clock.nowMs();
    if (isArrival(request)) {
      const shed = admission.screen(subjectOf(request), book.workOf(request, nowMs), nowMs, unit);
      if (shed !== null) return refuse(request, "shed", reply, shed.retryAfterMs);
    }
    const standing = standingOf(request);
    // Whoever waits already with no less right is served first, also when a slot is free for this one.
    const chosen: Chosen | NotChosen =
      admission.queue.isFirst(standing) || isCold(request.model)
        ? choose(request, nowMs, admission.queue.ceilingOf(standing), admission)
        : { kind: "full" };
    switch (chosen.kind) {
      case "late":
      case "tooShort":
        return refuse(request, deadlineReasons[chosen.kind], reply);
      case "full":
      case "blocked":
        return enqueue(request, admission, null, reply);
      case "cold":
        return meet(request, chosen.readyInMs, admission, reply);
      case "none":
        if (chosen.reason === "unhealthy" && isStarting(request.model, admission)) {
          return enqueue(request, admission, { expiry: "roomTimeout" }, reply);
        }
        break;
      case "chosen":
        break;
    }
    reply(chosen);
    return () => {};
  }

  /** Whether nothing of the model runs here and something could. */
  function isCold(model: string): boolean {
    const own = book.statuses(clock.nowMs()).filter((shard) => shard.model === model);
    return (
      !own.some(({ isUsable }) => isUsable) && own.some(({ life }) => (life.readyInMs ?? 0) > 0)
    );
  }

  function freeSlots(model: string): number {
    let free = 0;
    for (const shard of book.statuses(clock.nowMs())) {
      if (shard.model !== model || !shard.isUsable) continue;
      free += Math.max(0, shard.concurrentRequestsMax - shard.inFlight);
    }
    return free;
  }

  return {
    acquire,
    elsewhere(request) {
      const queue = models.get(request.model)?.queue;
      const standing = standingOf(request);
      const hasRoom =
        queue !== undefined &&
        !isDraining &&
        queue.isFirst(standing) &&
        book.choose(request, clock.nowMs(), queue.ceilingOf(standing)).kind === "chosen";
      return {
        hasRoom,
        hasNeighbour: hasNeighbour(request.model),
        get hasWarmNeighbour() {
          return warmth.hasWarmNeighbour(request.model);
        },
      };
    },
    wake() {
      for (const [model, admission] of models) {
        // Those that wait for a start wait for no other turn: theirs is no long queue.
        if (admission.queue.length === 0 || !isCold(model)) {
          const isCrowded = keepsRoomAbove(level());
          for (const queued of admission.tick(clock.nowMs(), () => freeSlots(model), isCrowded)) {
            evict(admission, queued, "longQueue");
          }
        }
        serve(admission, rooms.get(model));
      }
    },
    patients: () => new Map([...rooms].map(([model, room]) => [model, room.count] as const)),
    waiting: () => {
      const counts = [...models].map(([model, { queue }]) => [model, queue.length] as const);
      return new Map(counts.filter(([, count]) => count > 0));
    },
    queues: () => {
      const nowMs = clock.nowMs();
      return [...models].flatMap(([model, admission]) =>
        priorities.map((priority) => {
          const queue = admission.queue.of(priority);
          const oldest = queue.oldest();
          return {
            model,
            priority,
            waiting: queue.length,
            oldestMs: oldest === null ? 0 : Math.max(0, nowMs - oldest.enqueuedAtMs),
            isOverloaded: admission.isOverloaded(priority),
          };
        }),
      );
    },
    isWithinShare: ({ model, priority, tenant }) =>
      models.get(model)?.isWithinShare(tenant, priority, clock.nowMs()) ?? false,
    turnedAway(request) {
      const nowMs = clock.nowMs();
      const work = book.workOf(request, nowMs);
      models.get(request.model)?.turnedAway(subjectOf(request), work, nowMs);
    },
    shedRatios: () => new Map([...models].map(([model, { shedRatio }]) => [model, shedRatio])),
    drain() {
      isDraining = true;
      for (const room of rooms.values()) {
        room.serve(({ reply, request }, take) => {
          take();
          refuse(request, "draining", reply);
          return "answered";
        });
      }
      for (const admission of models.values()) {
        for (const queued of admission.queue.all()) drop(admission, queued, "draining");
      }
    },
  };
}
