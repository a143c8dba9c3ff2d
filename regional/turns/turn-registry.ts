import type { TurnRequest } from "#shared/protocol/internal/turn-request.ts";
import type { ErrorOutcome } from "#shared/errors/gateway-error.ts";
import type { ConversationId, ShardId } from "#shared/residency/brands.ts";
import type { DegradeTurn } from "../overload/degrader.ts";
import type { Clock } from "../ports/clock.ts";
import type { BufferBudget } from "./buffer-budget.ts";
import { createFrameLog } from "./frame-log.ts";
import { Fifo } from "../fifo.ts";
import { EndedTurn } from "./ended-turn.ts";
import { startTurn } from "./running-turn.ts";
import type { RunningTurn, RunningTurnDeps } from "./running-turn.ts";

/** Bounds of what a cell keeps. */
export interface RegistryPolicy {
  /** Frames of one turn that nobody has acknowledged, bytes. */
  readonly turnBytesMax: number;
  /** Turns that run or are remembered. */
  readonly turnsMax: number;
  /** How long an ended durable turn is kept for whoever has not read its end, ms. */
  readonly unreadKeptMs: number;
  /** How long the outcome of a stateless turn that nobody reads is kept for who asks what it came to, ms. */
  readonly abandonedKeptMs: number;
  /** How long it is kept once its last frame is acknowledged, and how long a fence outlives its turn, ms. */
  readonly readKeptMs: number;
}

/**
 * 4 MiB a turn is over an hour of a fast stream at one acknowledgement a second; 60 s outlives the object's watchdog
 * (10 s) six times; 10 minutes is the time after which an object gives up a turn that it cannot pull; 10 s outlast the two
 * times 3 s in which a Worker whose client went asks for the outcome.
 */
export const defaultRegistryPolicy: RegistryPolicy = {
  turnBytesMax: 4 * 1024 * 1024,
  turnsMax: 50_000,
  unreadKeptMs: 600_000,
  abandonedKeptMs: 10_000,
  readKeptMs: 60_000,
};

/** What became of a delivery of a turn. */
export type BeginReply =
  | { readonly kind: "started" | "joined"; readonly turn: RunningTurn }
  /** A higher incarnation or attempt was seen. */
  | { readonly kind: "fenced" }
  /** This attempt ran here and nothing of it is kept. */
  | { readonly kind: "gone" }
  | { readonly kind: "refused"; readonly error: ErrorOutcome };

interface Entry {
  readonly turnId: string;
  readonly attempt: number;
  incarnation: number;
  readonly conversationId: ConversationId | null;
  /** Null once nothing of the turn is kept; the fence stays. */
  turn: RunningTurn | null;
  acknowledgedSeq: number;
  endedAtMs: number | null;
}

/** The turns of a cell: each attempt runs once, whoever delivers it how often. */
export interface TurnRegistry {
  begin(request: TurnRequest, traceparent: string): BeginReply;
  /** A turn by id and attempt; `superseded` when another attempt took its place. */
  find(turnId: string, attempt: number): RunningTurn | "superseded" | null;
  acknowledge(turnId: string, attempt: number, seq: number): boolean;
  /** Ends the turn if it runs, and forgets its frames; false when nothing of this attempt is known. It never begins later. */
  remove(turnId: string, attempt: number): boolean;
  /** Ends and forgets all turns of a conversation that is erased. */
  forgetConversation(conversationId: ConversationId): void;
  /** Gives deadlines and stalls their chance; cheap enough for ten times a second. */
  tick(): void;
  /** Forgets what was kept long enough. */
  sweep(): void;
  /** From now on no new turn begins; deliveries of running ones still join. */
  drain(): void;
  /** Ends here what still runs when the cell's time is over; other cells go on with it. */
  handOverAll(): void;
  /** Has the turns of a shard that is being drained go on at others. */
  leaveShard(shard: ShardId): void;
  runningCount(): number;
  /** Resolves when no turn runs. */
  idle(): Promise<void>;
}

export interface RegistryOptions {
  readonly deps: RunningTurnDeps;
  readonly budget: BufferBudget;
  readonly clock: Clock;
  readonly policy: RegistryPolicy;
  /** What the degradation level does to a turn that is to begin. */
  readonly degrade: DegradeTurn;
}

const superseded: ErrorOutcome = {
  code: "conversation_locked",
  message: "A newer attempt of this turn has begun.",
};

const draining: ErrorOutcome = {
  code: "draining",
  message: "This cell is being shut down. Try again.",
  retryAfterMs: 1_000,
};
const cutShort: ErrorOutcome = {
  code: "interrupted",
  message: "The cell was shut down during the answer. What was received is not complete.",
};

/** The registry of one cell. */
export function createTurnRegistry(options: RegistryOptions): TurnRegistry {
  const { budget, clock, degrade, deps, policy } = options;
  const entries = new Map<string, Entry>();
  const running = new Set<Entry>();
  /** Ended, with something kept for readers. */
  const kept = new Set<Entry>();
  /** Of which nothing is kept, in the order in which that came to be; some are in no use any more. */
  const fences = new Fifo<Entry>();
  let idleWaiters: (() => void)[] = [];
  let isDraining = false;

  function start(given: TurnRequest, traceparent: string): BeginReply {
    const refusal = refuse();
    if (refusal !== null) return { kind: "refused", error: refusal };
    const verdict = degrade(given);
    if (verdict.kind === "refused") return verdict;
    const { request } = verdict;
    const frames = createFrameLog(budget, policy.turnBytesMax, request.resume?.toSeq ?? 0);
    const entry: Entry = {
      turnId: request.turnId,
      attempt: request.attempt,
      incarnation: request.incarnation,
      conversationId: request.conversationId,
      turn: null,
      acknowledgedSeq: request.resume?.toSeq ?? 0,
      endedAtMs: null,
    };
    entries.set(request.turnId, entry);
    running.add(entry);
    const turn = startTurn(request, traceparent, frames, deps, () => settle(entry));
    entry.turn = turn;
    void turn.ended().then(() => {
      entry.endedAtMs = clock.nowMs();
      running.delete(entry);
      if (entry.turn !== null) kept.add(entry);
      settle(entry);
      if (running.size > 0) return;
      for (const wake of idleWaiters) wake();
      idleWaiters = [];
    });
    return { kind: "started", turn };
  }

  /** Lets go of what ran a turn, once it has ended and nobody reads it: at once, while it is young and cheap to collect. */
  function settle(entry: Entry): void {
    const { turn } = entry;
    const ending = turn?.ending() ?? null;
    if (turn === null || ending === null || turn.readerCount() > 0) return;
    if (!(turn instanceof EndedTurn)) entry.turn = new EndedTurn(turn, ending);
  }

  function refuse(): ErrorOutcome | null {
    if (isDraining) {
      return draining;
    }
    if (entries.size >= policy.turnsMax) dropOldestFence();
    if (entries.size < policy.turnsMax && budget.hasRoom()) return null;
    return {
      code: "saturated",
      message: "The cell keeps as many answers as it can. Try again shortly.",
      retryAfterMs: 1_000,
    };
  }

  function dropOldestFence(): void {
    for (let fence = fences.shift(); fence !== undefined; fence = fences.shift()) {
      // Another attempt may have taken its place since.
      if (entries.get(fence.turnId) === fence) return void entries.delete(fence.turnId);
    }
  }

  function forget(entry: Entry, error: ErrorOutcome | null): void {
    const { turn } = entry;
    if (turn === null) return;
    turn.abort(error);
    turn.frames.clear();
    entry.turn = null;
    kept.delete(entry);
    fences.push(entry);
  }

  function held(turnId: string, attempt: number): Entry | null {
    const entry = entries.get(turnId);
    return entry !== undefined && entry.attempt === attempt ? entry : null;
  }

  /** Whether a fence has outlived its turn long enough. */
  function isStale({ endedAtMs }: Entry, nowMs: number): boolean {
    return endedAtMs !== null && nowMs - endedAtMs >= policy.readKeptMs;
  }

  /** Forgets what an ended turn kept. */
  function age(entry: Entry, nowMs: number): void {
    const { endedAtMs, turn } = entry;
    if (turn === null || endedAtMs === null) return;
    const isRead = entry.acknowledgedSeq >= turn.frames.lastSeq();
    const isAbandoned = turn.request.lane === "stateless" && turn.readerCount() === 0;
    if (isAbandoned) turn.frames.acknowledge(turn.frames.lastSeq());
    const keptMs = isAbandoned
      ? policy.abandonedKeptMs
      : isRead
        ? policy.readKeptMs
        : policy.unreadKeptMs;
    if (nowMs - endedAtMs >= keptMs) forget(entry, null);
  }

  return {
    begin(request, traceparent) {
      const entry = entries.get(request.turnId);
      if (entry === undefined) return start(request, traceparent);
      const isLower = request.attempt < entry.attempt || request.incarnation < entry.incarnation;
      if (isLower) return { kind: "fenced" };
      if (request.attempt === entry.attempt) {
        entry.incarnation = request.incarnation;
        return entry.turn === null ? { kind: "gone" } : { kind: "joined", turn: entry.turn };
      }
      forget(entry, superseded);
      return start(request, traceparent);
    },
    find(turnId, attempt) {
      const entry = entries.get(turnId);
      if (entry === undefined) return null;
      return entry.attempt === attempt ? entry.turn : "superseded";
    },
    acknowledge(turnId, attempt, seq) {
      const entry = held(turnId, attempt);
      if (entry === null) return false;
      entry.acknowledgedSeq = Math.max(entry.acknowledgedSeq, seq);
      entry.turn?.frames.acknowledge(seq);
      return true;
    },
    remove(turnId, attempt) {
      const entry = entries.get(turnId);
      if (entry !== undefined && entry.attempt > attempt) return false;
      if (entry?.attempt === attempt) {
        forget(entry, null);
        return true;
      }
      // The attempt was given up before it came: when it comes it must not run.
      if (entry === undefined && entries.size >= policy.turnsMax) dropOldestFence();
      if (entry !== undefined) forget(entry, null);
      const fence: Entry = {
        turnId,
        attempt,
        incarnation: 0,
        conversationId: null,
        turn: null,
        acknowledgedSeq: 0,
        endedAtMs: clock.nowMs(),
      };
      entries.set(turnId, fence);
      fences.push(fence);
      return false;
    },
    forgetConversation(conversationId) {
      for (const entry of entries.values()) {
        if (entry.conversationId === conversationId) forget(entry, null);
      }
    },
    tick() {
      for (const entry of running) entry.turn?.tick();
    },
    sweep() {
      const nowMs = clock.nowMs();
      for (const entry of kept) age(entry, nowMs);
      for (let fence = fences.peek(); fence !== undefined; fence = fences.peek()) {
        const isCurrent = entries.get(fence.turnId) === fence;
        if (isCurrent && !isStale(fence, nowMs)) return;
        fences.shift();
        if (isCurrent) entries.delete(fence.turnId);
      }
    },
    drain() {
      isDraining = true;
    },
    handOverAll() {
      for (const { turn } of running) {
        const isSeen = turn !== null && turn.hasBegun() && turn.request.rendering.stream;
        turn?.handOver(isSeen ? cutShort : draining);
      }
    },
    leaveShard(shard) {
      for (const { turn } of running) turn?.leaveShard(shard);
    },
    runningCount: () => running.size,
    idle: () =>
      running.size === 0
        ? Promise.resolve()
        : new Promise((resolve) => {
            idleWaiters.push(resolve);
          }),
  };
}
