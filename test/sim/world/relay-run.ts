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
import type { Scheduled } from "../kernel.ts";
import type { Process } from "../process.ts";
import type { CellHead } from "./cell.ts";
import type { Pipe } from "./pipe.ts";
import type { World } from "./world.ts";

/** What a call of a cell came to. */
export type CellAnswer = CellHead | { readonly kind: "unreachable"; readonly isLate: boolean };

/** Another cell was asked, or none could be. */
export type FailoverAnswer =
  | {
      readonly kind: "moved";
      readonly turn: RelayTurn;
      readonly givenSeq: number;
      readonly answer: CellAnswer;
    }
  | { readonly kind: "stopped"; readonly error: ErrorOutcome | null };

type FailoverEffect = Extract<RelayEffect, { kind: "failover" }>;

/** What the relay tells whoever finds another cell for it. */
export type FailoverWish = Omit<FailoverEffect, "kind" | "segment" | "given"> & {
  readonly segment: JournalSegment | null;
  readonly given: JournalSegment | null;
};

/** How a relay ended. */
export interface RelayEnd {
  readonly outcome: TurnOutcome | null;
  readonly error: ErrorOutcome | null;
}

/** What a relay is made of; as in edge/turns/relay-driver.ts. */
export interface RelayParts {
  readonly lane: RelayState["lane"];
  readonly isStreamed: boolean;
  readonly turn: RelayTurn;
  readonly policy: RelayPolicy;
  readonly deadlineMs: number;
  readonly checkpoint: (turn: RelayTurn, segment: JournalSegment) => Promise<FenceAnswer>;
  readonly complete: (
    turn: RelayTurn,
    segment: JournalSegment | null,
    outcome: TurnOutcome,
  ) => Promise<FenceAnswer>;
  readonly failover: (turn: RelayTurn, failover: FailoverWish) => Promise<FailoverAnswer>;
  readonly reattach: (turn: RelayTurn, afterSeq: number) => Promise<CellAnswer>;
  readonly write: (bytes: Uint8Array) => void;
}

const decoder = new TextDecoder();

function journalSegment({ fromSeq, toSeq, parts }: RelaySegment): JournalSegment {
  return { fromSeq, toSeq, text: parts.map((part) => decoder.decode(part)).join("") };
}

/** Feeds the real relay machine from simulated cells, object, client and clock; mirrors edge/turns/relay-driver.ts. */
export class RelayRun {
  readonly #world: World;
  readonly #process: Process;
  readonly #parts: RelayParts;
  readonly #done = Promise.withResolvers<RelayEnd>();
  readonly #begun = Promise.withResolvers<void>();
  #state: RelayState;
  #pipe: Pipe<Uint8Array> | null = null;
  #generation = 0;
  #timer: Scheduled | null = null;
  hasBegun = false;

  constructor(world: World, process: Process, parts: RelayParts) {
    this.#world = world;
    this.#process = process;
    this.#parts = parts;
    this.#state = beginRelay(parts.lane, parts.isStreamed, parts.turn, process.now());
  }

  get done(): Promise<RelayEnd> {
    return this.#done.promise;
  }

  /** Resolves when the first byte is written, or when the relay is over without one. */
  get begun(): Promise<void> {
    return this.#begun.promise;
  }

  clientGone(): void {
    this.#feed({ kind: "clientGone" });
  }

  take(answer: CellAnswer): void {
    switch (answer.kind) {
      case "stream":
        return this.#read(answer);
      case "refused":
        return this.#feed({ kind: "refused", error: answer.error, mayMove: answer.mayMove });
      case "unreachable":
        return this.#feed({ kind: "cut", reason: answer.isLate ? "deadline" : "unreachable" });
      case "started":
      case "notFound":
      case "conflict":
        return this.#feed({ kind: "cut", reason: "unreachable" });
    }
  }

  #read(answer: Extract<CellHead, { kind: "stream" }>): void {
    const scanner = new BlockScanner(this.#state.writtenSeq);
    const generation = (this.#generation += 1);
    const isCurrent = (): boolean => this.#generation === generation;
    const push = (bytes: Uint8Array): void => {
      for (const blocks of scanner.push(bytes)) if (isCurrent()) this.#feed(this.#eventOf(blocks));
    };
    this.#pipe = answer.open(this.#process, {
      chunk: (bytes) => {
        if (!isCurrent()) return;
        if (!this.#world.faults.fires("pipe.split")) return push(bytes);
        const at = this.#world.kernel.random("split").between(0, bytes.length);
        push(bytes.slice(0, at));
        if (isCurrent()) push(bytes.slice(at));
      },
      ended: () => {
        if (!isCurrent()) return;
        this.#feed(
          scanner.hasIncompleteBlock ? { kind: "cut", reason: "ended" } : { kind: "ended" },
        );
      },
      cut: () => {
        if (!isCurrent()) return;
        const isLate = this.#process.now() >= this.#parts.deadlineMs;
        this.#feed({ kind: "cut", reason: isLate ? "deadline" : "connectionLost" });
      },
    });
  }

  #eventOf(blocks: ScannedBlocks): RelayEvent {
    if (blocks.kind === "invalid") return { kind: "cut", reason: "invalid" };
    if (blocks.kind !== "outcome") return blocks;
    const outcome = parseTurnOutcome(decoder.decode(blocks.json));
    return outcome === null ? { kind: "cut", reason: "invalid" } : { kind: "outcome", outcome };
  }

  #feed(event: RelayEvent): void {
    const { machines, recorder } = this.#world;
    const { policy } = this.#parts;
    const step = machines.stepRelay(this.#state, event, this.#process.now(), policy);
    this.#state = step.state;
    recorder.expect(
      step.state.unacknowledgedBytes <= policy.heldBytesMax,
      "I-46",
      () => `a relay holds ${step.state.unacknowledgedBytes} bytes`,
    );
    for (const effect of step.effects) this.#carryOut(effect);
    this.#setTimer();
  }

  #carryOut(effect: RelayEffect): void {
    const parts = this.#parts;
    const { turn } = this.#state;
    switch (effect.kind) {
      case "write":
        this.hasBegun = true;
        this.#begun.resolve();
        return parts.write(effect.bytes);
      case "checkpoint":
        void parts
          .checkpoint(turn, journalSegment(effect.segment))
          .then((reply) => this.#feed({ kind: "checkpointed", attempt: turn.attempt, reply }));
        return;
      case "complete": {
        const segment = effect.segment === null ? null : journalSegment(effect.segment);
        void parts
          .complete(turn, segment, effect.outcome)
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
        return this.#disconnect();
      case "finish":
        this.#disconnect();
        this.#begun.resolve();
        this.#done.resolve({ outcome: effect.outcome, error: effect.error });
    }
  }

  async #failOver(turn: RelayTurn, effect: FailoverEffect): Promise<void> {
    this.#disconnect();
    this.#world.recorder.sometimes("a relay failed over");
    const { segment, given, kind: _kind, ...wish } = effect;
    const result = await this.#parts.failover(turn, {
      ...wish,
      segment: segment === null ? null : journalSegment(segment),
      given: given === null ? null : journalSegment(given),
    });
    if (result.kind === "stopped") return this.#feed({ kind: "stopped", error: result.error });
    this.#feed({ kind: "failedOver", turn: result.turn, givenSeq: result.givenSeq });
    this.#world.recorder.sometimes("another cell went on with a begun answer", result.givenSeq > 0);
    this.take(result.answer);
  }

  async #reattach(turn: RelayTurn, afterSeq: number): Promise<void> {
    this.#disconnect();
    const answer = await this.#parts.reattach(turn, afterSeq);
    this.#world.recorder.sometimes("a relay attached again", answer.kind === "stream");
    this.#feed({ kind: "failedOver", turn, givenSeq: afterSeq });
    this.take(answer.kind === "refused" ? { kind: "unreachable", isLate: false } : answer);
  }

  #disconnect(): void {
    this.#generation += 1;
    this.#pipe?.close();
    this.#pipe = null;
  }

  #setTimer(): void {
    const dueMs = relayTickDueMs(this.#state, this.#parts.policy);
    if (this.#timer !== null) this.#timer.run = null;
    this.#timer = null;
    if (dueMs === null) return;
    const delayMs = Math.max(1, dueMs - this.#process.now());
    this.#timer = this.#world.kernel.at(delayMs, this.#process, "relay.tick", () =>
      this.#feed({ kind: "tick" }),
    );
  }
}
