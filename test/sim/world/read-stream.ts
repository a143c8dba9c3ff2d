import type { TurnView } from "#shared/conversation/rpc.ts";
import {
  attachTo,
  beginRead,
  isPastRestart,
  readJournaled,
  readLive,
} from "#shared/conversation/stream-read.ts";
import type { JournalStep, StreamRead } from "#shared/conversation/stream-read.ts";
import { BlockScanner } from "#shared/protocol/block-scanner.ts";
import { renderErrorFrames } from "#edge/turns/error-frames.ts";
import type { Process } from "../process.ts";
import { callCell, callObject } from "./calls.ts";
import { ClientBody } from "./client-body.ts";
import type { ObjectNode } from "./object-node.ts";
import type { Answer } from "./worker.ts";
import { deadlineMs } from "./worker-plan.ts";
import type { World } from "./world.ts";

const pollMs = 100;
const interrupted = { code: "interrupted", message: "The stream broke off here." } as const;
const encoder = new TextEncoder();
const decoder = new TextDecoder();

interface Reading {
  readonly turn: TurnView;
  readonly text: string;
  readonly toSeq: number;
}

/** A reader that comes to a turn that exists: its journal, then live from its cell, until it has ended. Mirrors edge/turns/replay-turn.ts. */
class StreamReading {
  readonly #world: World;
  readonly #process: Process;
  readonly #object: ObjectNode;
  readonly #turnRandom: string;
  readonly #untilMs: number;
  readonly #body: ClientBody;
  #isClosed = false;

  constructor(world: World, process: Process, object: ObjectNode, turnRandom: string) {
    this.#world = world;
    this.#process = process;
    this.#object = object;
    this.#turnRandom = turnRandom;
    this.#untilMs = process.now() + deadlineMs;
    this.#body = new ClientBody(world, process, false);
    this.#body.onClose(() => {
      this.#isClosed = true;
    });
  }

  #readJournal(afterSeq: number): Promise<Reading | "refused" | null> {
    const { machines } = this.#world;
    const input = { scope: this.#object.scope("read"), turnRandom: this.#turnRandom, afterSeq };
    return callObject(this.#world, this.#process, {
      name: this.#object.name,
      zone: this.#object.zone,
      kind: "readJournal",
      open: () => this.#object.open(),
      content: () => "",
      handle: async () => {
        const { instance } = this.#object;
        if (instance === null) throw new Error("gone");
        const reply = await instance.call((context) => machines.readJournal(context, input));
        return reply.kind === "ok" ? reply.value : "refused";
      },
    });
  }

  async answer(afterSeq: number): Promise<Answer> {
    const first = await this.#readJournal(afterSeq);
    const turnRandom = this.#turnRandom;
    const failed = (error: Answer["error"]): Answer => ({
      status: "error",
      error,
      turnRandom,
      text: null,
      body: null,
    });
    if (first === null)
      return failed({ code: "no_capacity_in_jurisdiction", message: "unavailable" });
    if (first === "refused") return failed({ code: "not_found", message: "not found" });
    const { turn } = first;
    if (afterSeq === 0 && (turn.state === "failed" || turn.state === "cancelled"))
      return failed(turn.error);
    if (turn.rendering.stream) {
      void this.#write(first, afterSeq);
      return { status: "ok", error: null, turnRandom, text: null, body: this.#body };
    }
    for (let read: Reading | "refused" | null = first; ; read = await this.#readJournal(afterSeq)) {
      if (read === "refused") return failed({ code: "not_found", message: "not found" });
      if (read !== null && read.turn.state !== "running") {
        if (read.turn.body === null) return failed(read.turn.error);
        return { status: "ok", error: null, turnRandom, text: read.turn.body, body: null };
      }
      if (this.#process.now() >= this.#untilMs)
        return failed({ code: "deadline_exceeded", message: "late" });
      await this.#world.kernel.sleep(pollMs * 5, this.#process, "poll");
    }
  }

  #fail(turn: TurnView, seq: number): void {
    this.#body.write(renderErrorFrames(turn.rendering.api, interrupted, seq + 1, false).bytes);
    this.#body.end();
  }

  /** What the journal means for the reader, or for one that believes all that it hears. */
  #step(read: StreamRead, { turn, text, toSeq }: Reading): JournalStep {
    if (!this.#world.quirks.has("readerIgnoresRestart")) {
      return readJournaled(read, turn, text, toSeq);
    }
    const rest = read.unverified === "" ? text : "";
    const seq = Math.max(read.seq, toSeq);
    return { kind: "follows", rest, read: { ...read, seq, verifiedSeq: seq, unverified: "" } };
  }

  async #write(first: Reading, afterSeq: number): Promise<void> {
    const { recorder, kernel, quirks } = this.#world;
    let read = beginRead(afterSeq, first.turn.attempt);
    let reading: Reading | null = first;
    if (isPastRestart(first.turn, afterSeq) && !quirks.has("readerIgnoresRestart")) {
      return this.#fail(first.turn, afterSeq);
    }
    for (;;) {
      if (this.#isClosed) return;
      if (reading !== null) {
        const { turn } = reading;
        const step = this.#step(read, reading);
        if (step.kind === "diverged") {
          recorder.sometimes("a reader past a restart was told so");
          return this.#fail(turn, read.seq);
        }
        if (step.rest !== "") this.#body.write(encoder.encode(step.rest));
        ({ read } = step);
        if (turn.state !== "running") {
          if (read.unverified !== "") {
            recorder.sometimes("a reader that was ahead of its turn was told so");
            return this.#fail(turn, read.seq);
          }
          const hasFailed = turn.state === "failed" || turn.state === "cancelled";
          // Its end stands in the journal below what this reader has: it is told all the same.
          const isMute = hasFailed && step.rest === "" && !quirks.has("failedTurnEndsSilently");
          return isMute ? this.#fail(turn, read.seq) : this.#body.end();
        }
        if (this.#process.now() >= this.#untilMs) return this.#fail(turn, read.seq);
        const attached = attachTo(read, turn.attempt);
        if (attached !== null) read = await this.#live(turn, attached);
      }
      await kernel.sleep(pollMs, this.#process, "poll");
      const next = await this.#readJournal(read.verifiedSeq);
      if (next === "refused") return this.#fail(first.turn, read.seq);
      reading = next;
      if (next === null && this.#process.now() >= this.#untilMs) {
        return this.#fail(first.turn, read.seq);
      }
    }
  }

  /** Passes live frames on, up to the outcome. */
  async #live(turn: TurnView, attached: StreamRead): Promise<StreamRead> {
    const { turnId, attempt, cell: cellId } = turn;
    const head = await callCell(
      this.#world,
      this.#process,
      cellId,
      "frames",
      10_000,
      () => "",
      (cell, sentAtMs) => cell.follow(turnId, attempt, attached.seq, sentAtMs),
    );
    if (!head.ok || head.value.kind !== "stream") return attached;
    const { open } = head.value;
    this.#world.recorder.sometimes("a second reader read live");
    return new Promise((resolve) => {
      let read = attached;
      const scanner = new BlockScanner(read.seq);
      let isOver = false;
      const end = (): void => {
        if (isOver) return;
        isOver = true;
        timer.run = null;
        pipe?.close();
        resolve(read);
      };
      const timer = this.#world.kernel.at(
        Math.max(1, this.#untilMs - this.#process.now()),
        this.#process,
        "live.late",
        end,
      );
      let pipe: ReturnType<typeof open> | null = null;
      pipe = open(this.#process, {
        chunk: (bytes) => {
          if (isOver) return;
          if (this.#isClosed) return end();
          for (const block of scanner.push(bytes)) {
            if (block.kind === "outcome" || block.kind === "invalid") return end();
            if (block.kind !== "frames" && block.kind !== "comment") continue;
            if (block.kind === "frames") {
              read = readLive(read, decoder.decode(block.bytes), block.toSeq);
            }
            this.#body.write(block.bytes);
          }
        },
        ended: end,
        cut: end,
      });
    });
  }
}

/** Answers with a turn that exists, from the frame after `afterSeq` on. */
export function readStream(
  world: World,
  process: Process,
  object: ObjectNode,
  turnRandom: string,
  afterSeq: number,
): Promise<Answer> {
  return new StreamReading(world, process, object, turnRandom).answer(afterSeq);
}
