import { stepRelay } from "#shared/conversation/relay.ts";
import { beginRelay, relayTickDueMs } from "#shared/conversation/relay-state.ts";
import type {
  FenceAnswer,
  RelayEffect,
  RelayEvent,
  RelayPolicy,
  RelaySegment,
  RelayState,
  RelayTurn,
} from "#shared/conversation/relay-state.ts";
import type { JournalSegment } from "#shared/conversation/rpc.ts";
import type { ErrorOutcome } from "#shared/errors/gateway-error.ts";
import { BlockScanner } from "#shared/protocol/block-scanner.ts";
import type { ScannedBlocks } from "#shared/protocol/block-scanner.ts";
import { parseTurnOutcome } from "#shared/protocol/internal/turn-outcome.ts";
import type { TurnOutcome } from "#shared/protocol/internal/turn-outcome.ts";
import type { CellAnswer } from "../ports.ts";
import { readExpectedWait, readLevel } from "./lane-answer.ts";

/** What the relay asks of the turn's object. All are repeatable and never throw. */
export interface RelayObject {
  checkpoint(turn: RelayTurn, segment: JournalSegment): Promise<FenceAnswer>;
  complete(
    turn: RelayTurn,
    segment: JournalSegment | null,
    outcome: TurnOutcome,
  ): Promise<FenceAnswer>;
}

/** What the relay tells whoever finds another cell for it. */
export interface Failover {
  /** Durable lane: frames that the object has not got. */
  readonly segment: JournalSegment | null;
  /** Stateless lane: all that the client was given. */
  readonly given: JournalSegment | null;
  readonly continuations: number;
  readonly surplusTokens: number;
  readonly reason: string;
}

/** Another cell was asked to go on after `givenSeq`, or none could be; `error` null: another attempt holds the turn. */
export type FailoverAnswer =
  | {
      readonly kind: "moved";
      readonly turn: RelayTurn;
      readonly givenSeq: number;
      readonly answer: CellAnswer;
    }
  | { readonly kind: "stopped"; readonly error: ErrorOutcome | null };

/** How a relay ended. */
export interface RelayEnd {
  readonly outcome: TurnOutcome | null;
  readonly error: ErrorOutcome | null;
}

/** What a relay is made of. */
export interface RelayParts {
  readonly lane: RelayState["lane"];
  readonly isStreamed: boolean;
  readonly turn: RelayTurn;
  readonly policy: RelayPolicy;
  readonly deadlineMs: number;
  readonly now: () => number;
  /** Null on the stateless lane. */
  readonly object: RelayObject | null;
  /** Never throws. */
  readonly failover: (turn: RelayTurn, failover: Failover) => Promise<FailoverAnswer>;
  /** The running turn's frames after `afterSeq`, from the cell that has it. Never throws. */
  readonly reattach: (turn: RelayTurn, afterSeq: number) => Promise<CellAnswer>;
  /** The client's connection, where the platform reports its end before a write fails. */
  readonly clientSignal: AbortSignal;
}

function heldBytesOf(state: RelayState): number {
  if (state.phase === "finished") return 0;
  return state.unacknowledgedBytes + (state.given === null ? 0 : state.givenBytes);
}

const decoder = new TextDecoder();

/** Bytes that all relays of this isolate hold together, before each is held to its small share: a quarter of its 128 MB. */
const heldBytesMax = 32 * 1024 * 1024;
const heldShareBytes = 64 * 1024;
let heldBytes = 0;

/** Bytes of whole frames as the journal's text: each part ends at a frame's border, so none cuts a character. */
function journalSegment({ fromSeq, toSeq, parts }: RelaySegment): JournalSegment {
  return { fromSeq, toSeq, text: parts.map((part) => decoder.decode(part)).join("") };
}

/**
 * Feeds one relay machine from a cell's body, the object, the client and the clock, and carries its effects out. Reads
 * the body with one loop and writes to one native identity stream: per chunk one scan and one write.
 */
export class RelayDriver {
  readonly #parts: RelayParts;
  #state: RelayState;
  #reader: ReadableStreamDefaultReader<Uint8Array> | null = null;
  #writer: WritableStreamDefaultWriter<Uint8Array> | null = null;
  #readable: ReadableStream<Uint8Array> | null = null;
  #lastWrite: Promise<void> = Promise.resolve();
  #timer: ReturnType<typeof setTimeout> | null = null;
  #timerDueMs = 0;
  readonly #begun = Promise.withResolvers<void>();
  readonly #done = Promise.withResolvers<RelayEnd>();
  #answer: Extract<CellAnswer, { kind: "answer" }> | null = null;
  #level: string | null = null;
  #expectedWaitMs: string | null = null;

  constructor(parts: RelayParts) {
    this.#parts = parts;
    this.#state = beginRelay(parts.lane, parts.isStreamed, parts.turn, parts.now());
  }

  /** Resolves once, when the relay is over; never rejects. */
  get done(): Promise<RelayEnd> {
    return this.#done.promise;
  }

  /** Resolves when the first byte is written, or when the relay is over without one. */
  get begun(): Promise<void> {
    return this.#begun.promise;
  }

  /** The client's stream; null while nothing was written. */
  get readable(): ReadableStream<Uint8Array> | null {
    return this.#readable;
  }

  /** The answer of the cell that is read at present, for its headers. */
  get answer(): Extract<CellAnswer, { kind: "answer" }> | null {
    return this.#answer;
  }

  /** What the cell that was asked last expects the start of a shard to take, ms; null where it waits for none. */
  get expectedWaitMs(): string | null {
    return this.#expectedWaitMs;
  }

  /** Degradation level of the cell that was asked last; null where it told none. */
  get level(): string | null {
    return this.#level;
  }

  /** The turn as leased at present. */
  get turn(): RelayTurn {
    return this.#state.turn;
  }

  /** Takes in what the cell answered and relays until the end. Call once. */
  start(answer: CellAnswer): void {
    const { clientSignal } = this.#parts;
    if (clientSignal.aborted) this.#feed({ kind: "clientGone" });
    clientSignal.addEventListener("abort", () => this.#feed({ kind: "clientGone" }), {
      once: true,
    });
    this.#take(answer);
  }

  #take(answer: CellAnswer): void {
    switch (answer.kind) {
      case "answer":
        this.#answer = answer;
        this.#level = readLevel(answer.headers);
        this.#expectedWaitMs = readExpectedWait(answer.headers);
        void this.#read(answer.body);
        return;
      case "refused":
        this.#level = answer.level;
        this.#feed({ kind: "refused", error: answer.error, mayMove: answer.mayMove });
        return;
      case "unreachable":
        this.#feed({
          kind: "cut",
          reason: answer.failure === "timeout" ? "deadline" : "unreachable",
        });
    }
  }

  async #read(body: ReadableStream<Uint8Array>): Promise<void> {
    const reader = body.getReader();
    this.#reader = reader;
    const scanner = new BlockScanner(this.#state.writtenSeq);
    try {
      while (this.#reader === reader) {
        const { done, value } = await reader.read();
        if (done) {
          this.#feed(
            scanner.hasIncompleteBlock ? { kind: "cut", reason: "ended" } : { kind: "ended" },
          );
          return;
        }
        for (const blocks of scanner.push(value)) this.#feed(this.#eventOf(blocks));
        await this.#lastWrite;
      }
    } catch {
      if (this.#reader !== reader) return;
      const isLate = this.#parts.now() >= this.#parts.deadlineMs;
      this.#feed({ kind: "cut", reason: isLate ? "deadline" : "connectionLost" });
    }
  }

  #eventOf(blocks: ScannedBlocks): RelayEvent {
    switch (blocks.kind) {
      case "frames":
      case "comment":
      case "seam":
      case "surplus":
        return blocks;
      case "invalid":
        return { kind: "cut", reason: "invalid" };
      case "outcome": {
        const outcome = parseTurnOutcome(decoder.decode(blocks.json));
        return outcome === null ? { kind: "cut", reason: "invalid" } : { kind: "outcome", outcome };
      }
    }
  }

  #feed(event: RelayEvent): void {
    const { now } = this.#parts;
    const step = stepRelay(this.#state, event, now(), this.#policy());
    const before = heldBytesOf(this.#state);
    this.#state = step.state;
    heldBytes += heldBytesOf(this.#state) - before;
    for (const effect of step.effects) this.#carryOut(effect);
    this.#setTimer();
  }

  #policy(): RelayPolicy {
    const { policy } = this.#parts;
    return heldBytes < heldBytesMax ? policy : { ...policy, heldBytesMax: heldShareBytes };
  }

  #carryOut(effect: RelayEffect): void {
    const { object } = this.#parts;
    const { turn } = this.#state;
    switch (effect.kind) {
      case "write":
        this.#write(effect.bytes);
        return;
      case "checkpoint":
        void object
          ?.checkpoint(turn, journalSegment(effect.segment))
          .then((reply) => this.#feed({ kind: "checkpointed", attempt: turn.attempt, reply }));
        return;
      case "complete": {
        const segment = effect.segment === null ? null : journalSegment(effect.segment);
        void object
          ?.complete(turn, segment, effect.outcome)
          .then((reply) => this.#feed({ kind: "completed", reply }));
        return;
      }
      case "failover":
        void this.#failOver(turn, effect);
        return;
      case "reattach":
        void this.#reattach(turn, effect.afterSeq);
        return;
      case "disconnect":
        this.#disconnect();
        return;
      case "finish":
        this.#finish(effect.outcome, effect.error);
    }
  }

  async #failOver(
    turn: RelayTurn,
    {
      segment,
      given,
      continuations,
      surplusTokens,
      reason,
    }: Extract<RelayEffect, { kind: "failover" }>,
  ): Promise<void> {
    this.#disconnect();
    const result = await this.#parts.failover(turn, {
      segment: segment === null ? null : journalSegment(segment),
      given: given === null ? null : journalSegment(given),
      continuations,
      surplusTokens,
      reason,
    });
    if (result.kind === "stopped") {
      this.#feed({ kind: "stopped", error: result.error });
      return;
    }
    this.#feed({ kind: "failedOver", turn: result.turn, givenSeq: result.givenSeq });
    this.#take(result.answer);
  }

  async #reattach(turn: RelayTurn, afterSeq: number): Promise<void> {
    this.#disconnect();
    const answer = await this.#parts.reattach(turn, afterSeq);
    this.#feed({ kind: "failedOver", turn, givenSeq: afterSeq });
    // Whatever the cell says of a turn that it has not got, it is no refusal of the prompt.
    this.#take(
      answer.kind === "refused" ? { kind: "unreachable", failure: "connectionLost" } : answer,
    );
  }

  #write(bytes: Uint8Array): void {
    if (this.#writer === null) {
      const { readable, writable } = new IdentityTransformStream();
      this.#readable = readable;
      this.#writer = writable.getWriter();
      this.#writer.closed.catch(() => this.#feed({ kind: "clientGone" }));
      this.#begun.resolve();
    }
    // A failed write means that the client is gone, which `closed` reports; reading goes on where the lane wants it.
    this.#lastWrite = this.#writer.write(bytes).catch(() => undefined);
  }

  #disconnect(): void {
    const reader = this.#reader;
    this.#reader = null;
    reader?.cancel().catch(() => undefined);
  }

  #finish(outcome: TurnOutcome | null, error: ErrorOutcome | null): void {
    this.#disconnect();
    const writer = this.#writer;
    if (writer !== null) void this.#lastWrite.then(() => writer.close()).catch(() => undefined);
    this.#begun.resolve();
    this.#done.resolve({ outcome, error });
  }

  /** One timer at most: a later due time waits for the earlier one, which then sets it. */
  #setTimer(): void {
    const dueMs = relayTickDueMs(this.#state, this.#parts.policy);
    if (this.#timer !== null && (dueMs === null || dueMs < this.#timerDueMs)) {
      clearTimeout(this.#timer);
      this.#timer = null;
    }
    if (dueMs === null || this.#timer !== null) return;
    this.#timerDueMs = dueMs;
    const delayMs = Math.max(1, dueMs - this.#parts.now());
    this.#timer = setTimeout(() => {
      this.#timer = null;
      this.#feed({ kind: "tick" });
    }, delayMs);
  }
}
