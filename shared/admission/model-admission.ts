import { priorities } from "../config/topology.ts";
import type { Priority } from "../config/topology.ts";
import { admitToQueue } from "./admit-to-queue.ts";
import type { QueueDecision } from "./admit-to-queue.ts";
import type { ClassQueue } from "./class-queue.ts";
import { codelBelow, stepCodel } from "./codel.ts";
import type { CodelState } from "./codel.ts";
import { addDrained, drainRate, noDrain } from "./drain-rate.ts";
import type { DrainRate } from "./drain-rate.ts";
import { FairShares } from "./fair-shares.ts";
import { foreseeFinish, foreseeWaitMs, loadShareAt } from "./foresee-finish.ts";
import type { FinishDecision, FinishInput } from "./foresee-finish.ts";
import { shortQueue, stepLongQueue } from "./long-queue.ts";
import type { LongQueueState } from "./long-queue.ts";
import { ModelQueue } from "./model-queue.ts";
import type { QueuePolicy } from "./queue-policy.ts";
import { retryAfterMs } from "./retry-after.ts";
import type { ShedSubject } from "./shed-cohorts.ts";
import { nothingShed, stepShedRatio } from "./shed-ratio.ts";
import type { ShedRatioState } from "./shed-ratio.ts";
import type { Queued, QueuedTurn } from "./tenant-line.ts";

/** A turn that runs on a shard, as far as it matters to those that wait. */
export interface RunningWork {
  readonly workTokens: number;
  /** When it is predicted to end, ms. */
  readonly endsAtMs: number;
  readonly tokensPerSecond: number;
}

/** What joining the queue is decided from besides the queue itself. */
export interface AdmissionContext {
  /** Turns that wait in the whole cell. */
  readonly waitingInCell: number;
  /** Whether it waits for the first shard of the model to come up: nothing can be foreseen then. */
  readonly isRoom: boolean;
  /** How long it may wait for that, ms; the policy's time by default. */
  readonly roomMsMax?: number;
  /** Times of the prompt at a share of the present load, 0..1; null where nothing can be predicted. */
  readonly predict: (loadShare: number) => FinishInput["predicted"];
}

/** Classes whose queues are cut when they are long: critical turns are few by contract, and all served. */
const cuttable = ["interactive", "standard", "batch"] as const;
/** Waits that the shed are told at the least, ms: an overload does not end at once. */
const shedRetryMsMin = 5_000;

/** Longest wait of each class's turns, ms; null where none waits. */
type Ages = Readonly<Record<Priority, number | null>>;

function agesOf<T>(
  queue: ModelQueue<T>,
  nowMs: number,
  oldestOf = (one: ClassQueue<T>): Queued<T> | null => one.oldest(),
): Ages {
  const age = (priority: Priority): number | null => {
    const oldest = oldestOf(queue.of(priority));
    return oldest === null ? null : Math.max(0, nowMs - oldest.enqueuedAtMs);
  };
  return {
    critical: age("critical"),
    interactive: age("interactive"),
    standard: age("standard"),
    batch: age("batch"),
  };
}

/**
 * All that decides which turns of one model are dispatched, wait, or are refused. It holds no clock and no timers, and answers
 * nobody: its owner dispatches, replies, and calls `tick` several times a second. The cell and the simulator run it unchanged.
 */
export class ModelAdmission<T> {
  readonly queue: ModelQueue<T>;
  readonly #policy: QueuePolicy;
  readonly #running = new Set<RunningWork>();
  readonly #shares = new FairShares();
  /** Of those within their shares alone: others' ceilings are not lowered for who floods. */
  readonly #longWithin: Record<Priority, LongQueueState>;
  readonly #long: Record<Priority, LongQueueState>;
  readonly #codel: Record<Priority, CodelState>;
  /** Sum of the running turns' predicted rates, tokens per second. */
  #foreseenRate = 0;
  #drained: DrainRate = noDrain;
  #shed: ShedRatioState = nothingShed;
  #backlogSinceMs: number | null = null;
  #periodBeganMs: number | null = null;
  #arrived = 0;
  #dispatched = 0;
  #hasServed = false;

  constructor(policy: QueuePolicy) {
    this.queue = new ModelQueue<T>(policy, this.#shares);
    this.#policy = policy;
    const same = <S>(state: S): Record<Priority, S> => ({
      critical: state,
      interactive: state,
      standard: state,
      batch: state,
    });
    this.#long = same(shortQueue);
    this.#longWithin = same(shortQueue);
    this.#codel = same<CodelState>(codelBelow);
  }

  /** Whether no shard has answered a turn of the model yet, and none tries to. */
  get isStarting(): boolean {
    return !this.#hasServed && this.#running.size === 0;
  }

  /** Share of the arrivals that is shed, 0..1. */
  get shedRatio(): number {
    return this.#shed.ratio;
  }

  isOverloaded(priority: Priority): boolean {
    return this.#long[priority].isOverloaded;
  }

  /** Counts an arrival that asks for `workTokens`, and refuses it when it is in the share that is shed. Null: it may go on. */
  screen(
    subject: ShedSubject,
    workTokens: number,
    nowMs: number,
    random: () => number,
  ): { readonly retryAfterMs: number } | null {
    this.#shares.arrived(subject, workTokens, nowMs);
    this.#shares.renew(nowMs);
    if (!this.#shares.isShed(subject, this.#shed.ratio, nowMs, random)) {
      this.#arrived += 1;
      return null;
    }
    const drainMs = Math.max(shedRetryMsMin, this.#drainMs(0, nowMs));
    return { retryAfterMs: retryAfterMs(drainMs, random) };
  }

  /** Counts an arrival that was refused before it came here: it was asked for all the same. */
  turnedAway(subject: ShedSubject, workTokens: number, nowMs: number): void {
    this.#shares.arrived(subject, workTokens, nowMs);
  }

  /** Whether others, who ask for more than their fair share, are to give way before the tenant's turns of the class. */
  isWithinShare(tenant: string, priority: Priority, nowMs: number): boolean {
    return this.#shares.isWithin(tenant, priority, nowMs);
  }

  /** Whether a turn joins the queue; `evicted` gives its place to it. */
  admit(
    turn: QueuedTurn,
    context: AdmissionContext,
    nowMs: number,
  ): { readonly decision: QueueDecision; readonly evicted: Queued<T> | null } {
    const victim = this.queue.victimFor(turn);
    const decision = admitToQueue(
      turn,
      {
        waitingForModel: this.queue.length,
        waiting: context.waitingInCell,
        canDisplace: victim !== null,
        foresee: () => this.#foresee(turn, context, nowMs),
        isRoom: context.isRoom,
        ...(context.roomMsMax === undefined ? {} : { roomMsMax: context.roomMsMax }),
      },
      nowMs,
      this.#policy,
    );
    const displaces = decision.kind === "wait" && decision.reason === "displaces";
    return { decision, evicted: displaces ? victim : null };
  }

  /** When a refused turn may try again, ms: once what waits, and it, will have been drained. */
  retryAfterMs(costTokens: number, nowMs: number, random: () => number): number {
    return retryAfterMs(this.#drainMs(costTokens, nowMs), random);
  }

  add(turn: QueuedTurn, item: T, nowMs: number): Queued<T> {
    this.#backlogSinceMs ??= nowMs;
    return this.queue.add(turn, item, nowMs);
  }

  /** A turn was dispatched. Give what is returned to `ended`. */
  began(
    service: {
      readonly tenant: string;
      readonly priority: Priority;
      readonly workTokens: number;
      readonly predictedMs: number;
    },
    nowMs: number,
  ): RunningWork {
    const { predictedMs, priority, tenant, workTokens } = service;
    const running = {
      workTokens,
      endsAtMs: nowMs + predictedMs,
      tokensPerSecond: (1_000 * workTokens) / Math.max(1, predictedMs),
    };
    this.#running.add(running);
    this.#foreseenRate += running.tokensPerSecond;
    this.#dispatched += 1;
    this.queue.charge(tenant, workTokens, nowMs);
    this.#shares.served(tenant, priority, workTokens, nowMs);
    return running;
  }

  ended(running: RunningWork, isAnswered: boolean, nowMs: number): void {
    if (!this.#running.delete(running)) return;
    // Set anew when it can be, so that rounding does not add up.
    this.#foreseenRate =
      this.#running.size === 0 ? 0 : this.#foreseenRate - running.tokensPerSecond;
    this.#drained = addDrained(this.#drained, running.workTokens, nowMs);
    if (isAnswered) this.#hasServed = true;
  }

  /**
   * Takes note of the time: long queues, the share to shed. Returns the turns to drop, which it has taken out. `isCrowded`: the
   * cell's level keeps what is kept for more important classes free, though the queue is short, because it refuses those that
   * would make it long.
   */
  tick(nowMs: number, freeSlots: () => number, isCrowded = false): readonly Queued<T>[] {
    this.#shares.renew(nowMs);
    if (this.queue.length === 0) this.#backlogSinceMs = null;
    // Those that wait for the first shard to come up wait for no other turn.
    if (this.isStarting) return [];
    const before = agesOf(this.queue, nowMs);
    this.#stepLong(this.#long, before, nowMs);
    const hasOver = this.#shares.hasOver();
    const within = hasOver ? agesOf(this.queue, nowMs, (queue) => queue.oldestWithin()) : before;
    this.#stepLong(this.#longWithin, within, nowMs);
    this.queue.setOverloaded(
      isCrowded ||
        (["critical", "interactive", "standard"] as const).some(
          (one) => this.#longWithin[one].isOverloaded,
        ),
    );
    const dropped = cuttable.flatMap((priority) => this.#cut(priority, nowMs));
    this.#stepShed(before, nowMs, freeSlots);
    return dropped;
  }

  #stepLong(states: Record<Priority, LongQueueState>, ages: Ages, nowMs: number): void {
    for (const priority of priorities) {
      const { [priority]: age } = ages;
      const slo = this.#sloMs(priority);
      states[priority] = stepLongQueue(states[priority], age, slo, nowMs, this.#policy.longQueue);
    }
  }

  #sloMs(priority: Priority): number {
    return 1_000 * this.#policy.ttftSloSeconds[priority];
  }

  /** Serves a long queue newest first, and drops its longest waiting turns at the controlled delay's pace. */
  #cut(priority: Priority, nowMs: number): readonly Queued<T>[] {
    const queue = this.queue.of(priority);
    const isLong = this.#long[priority].isOverloaded;
    queue.setOrder(isLong ? "newestFirst" : "deadlineFirst");
    if (!isLong) {
      this.#codel[priority] = codelBelow;
      return [];
    }
    const dropped: Queued<T>[] = [];
    for (;;) {
      const oldest = queue.oldest();
      const age = oldest === null ? null : nowMs - oldest.enqueuedAtMs;
      const slo = this.#sloMs(priority);
      const step = stepCodel(this.#codel[priority], age, slo, nowMs, this.#policy.codel);
      this.#codel[priority] = step.state;
      if (!step.isDropped || oldest === null) return dropped;
      // Whoever makes the queue long gives way, not who happens to have waited longest.
      const victim = queue.oldestOfHeaviest() ?? oldest;
      queue.remove(victim);
      dropped.push(victim);
    }
  }

  #stepShed(ages: Ages, nowMs: number, freeSlots: () => number): void {
    this.#periodBeganMs ??= nowMs;
    if (nowMs - this.#periodBeganMs < this.#policy.shedRatio.periodMs) return;
    const isLate = priorities.some(
      (priority) => (ages[priority] ?? 0) > this.#policy.codel.targetShare * this.#sloMs(priority),
    );
    const free = freeSlots();
    this.#shed = stepShedRatio(
      this.#shed,
      { arrived: this.#arrived, dispatched: this.#dispatched, freeSlots: free, isLate },
      this.#policy.shedRatio,
    );
    this.#shares.noteCapacity(this.#capacity(free, nowMs), nowMs);
    this.#periodBeganMs = nowMs;
    this.#arrived = 0;
    this.#dispatched = 0;
  }

  #rate(nowMs: number): number {
    return drainRate(this.#drained, this.#foreseenRate, this.#backlogSinceMs, nowMs);
  }

  /** What all slots together would do, tokens per second; Infinity while nothing runs that would tell. */
  #capacity(freeSlots: number, nowMs: number): number {
    const busy = this.#running.size;
    const rate = this.#rate(nowMs);
    if (busy === 0 || !(rate > 0)) return Number.POSITIVE_INFINITY;
    return (rate * (busy + freeSlots)) / busy;
  }

  #drainMs(costTokens: number, nowMs: number): number {
    return foreseeWaitMs(this.queue.workTokens + costTokens, this.#rate(nowMs));
  }

  #foresee(turn: QueuedTurn, context: AdmissionContext, nowMs: number): FinishDecision {
    const workBeforeTokens = this.queue.workBefore(turn);
    const drainTokensPerSecond = this.#rate(nowMs);
    const isNear = turn.deadlineMs - nowMs <= this.#policy.foresightMsMax;
    let predicted: FinishInput["predicted"] = null;
    if (isNear) {
      const atMs = nowMs + foreseeWaitMs(workBeforeTokens, drainTokensPerSecond);
      const ends = [...this.#running].map(({ endsAtMs }) => endsAtMs);
      const meanTokens = this.queue.length === 0 ? 1 : this.queue.workTokens / this.queue.length;
      predicted = context.predict(loadShareAt(ends, workBeforeTokens / meanTokens, atMs));
    }
    return foreseeFinish(
      turn,
      { workBeforeTokens, drainTokensPerSecond, predicted },
      nowMs,
      this.#policy.waitMsMax,
    );
  }
}
