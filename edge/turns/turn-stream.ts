import type { ConversationRpc, ConversationScope, TurnView } from "#shared/conversation/rpc.ts";
import {
  attachTo,
  beginRead,
  isPastRestart,
  readJournaled,
  readLive,
} from "#shared/conversation/stream-read.ts";
import type { StreamRead } from "#shared/conversation/stream-read.ts";
import type { ErrorOutcome } from "#shared/errors/gateway-error.ts";
import { BlockScanner } from "#shared/protocol/block-scanner.ts";
import type { CellAnswer, EdgeDeps } from "../ports.ts";
import type { RequestFacts } from "../request-facts.ts";
import { renderErrorFrames } from "./error-frames.ts";
import { throwRefusal } from "./prepared-turn.ts";

/** Pauses between looks at a turn that says nothing new, ms: doubled up to the longer one, reset by a new frame. */
const pauseMinMs = 50;
const pauseMaxMs = 1_000;
/** How long a cell may take to say whether it has the turn, ms. */
const attachTimeoutMs = 3_000;
/** How long one reader is served, ms; longer than any turn may run. It can come back. */
export const readerMsMax = 7_200_000;

/** A stream that this Worker cannot go on with. */
const brokenOff: ErrorOutcome = {
  code: "interrupted",
  message: "The stream broke off here. Resume it after the last event that came.",
};
/** A reader that has read what no journal has: what follows now may be another text. */
const restarted: ErrorOutcome = {
  code: "interrupted",
  message:
    "The answer was begun again before this position. What was received after the restart is not part of it: read the stream again from its start.",
};

/** A turn and where it lives. */
export interface TurnPosition {
  readonly turn: TurnView;
  readonly scope: ConversationScope;
  readonly object: ConversationRpc;
}

type Write = (bytes: Uint8Array) => Promise<void>;
type LiveAnswer = Extract<CellAnswer, { kind: "answer" }>;

/** Characters that a reader may be shown before they are compared with the journal, which is a second behind or 16 KiB. */
const unverifiedCharactersMax = 256 * 1024;

const encoder = new TextEncoder();
const decoder = new TextDecoder();
const keepAlive = encoder.encode(": keep-alive\n\n");

/** The cell's frames after `afterSeq`; null when there is nothing to attach to, or what is asked for is journaled only. */
async function attach(
  deps: EdgeDeps,
  facts: RequestFacts,
  turn: TurnView,
  afterSeq: number,
): Promise<LiveAnswer | null> {
  const cell = facts.jurisdiction.cells.find(({ id }) => id === turn.cell);
  if (cell === undefined) return null;
  const answer = await deps.cells.readFrames(
    cell,
    { turnId: turn.turnId, attempt: turn.attempt, afterSeq },
    {
      requestId: facts.requestId,
      traceparent: facts.traceparent,
      deadlineMs: facts.startedAtMs + readerMsMax,
      signal: facts.signal,
      headTimeoutMs: attachTimeoutMs,
    },
  );
  return answer.kind === "answer" ? answer : null;
}

/**
 * Passes live frames on, up to those that the object must know first, or until what no journal had yet is to be compared. A
 * reader so slow that the cell has dropped what comes next finds it in the journal. Each write waits for the reader, so that
 * one that does not read costs a chunk here and nothing at the cell.
 */
async function writeLive(
  answer: LiveAnswer,
  before: StreamRead,
  write: Write,
): Promise<StreamRead> {
  let read = before;
  const scanner = new BlockScanner(read.seq);
  const reader = answer.body.getReader();
  try {
    while (read.unverified.length < unverifiedCharactersMax) {
      const { done, value } = await reader.read().catch(() => ({ done: true, value: undefined }));
      if (done || value === undefined) return read;
      for (const block of scanner.push(value)) {
        // What follows the outcome is shown only once the turn is durable: from the journal.
        if (block.kind === "outcome" || block.kind === "invalid") return read;
        if (block.kind === "seam" || block.kind === "surplus") continue;
        await write(block.bytes);
        if (block.kind !== "frames") continue;
        read = readLive(read, decoder.decode(block.bytes), block.toSeq);
      }
    }
    return read;
  } finally {
    reader.cancel().catch(() => undefined);
  }
}

/** The journal after `afterSeq`, with the turn as it is now. */
async function readJournal({ object, scope, turn }: TurnPosition, afterSeq: number) {
  const read = await object.readJournal({ scope, turnRandom: turn.turnRandom, afterSeq });
  if (read.kind === "refused") throwRefusal(read.error);
  return read.value;
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/**
 * Writes what a client of the turn sees after `afterSeq`: the journal, then what the cell says, until the turn has ended and
 * all of its journal is written. Byte for byte what every other reader sees, comments aside. A turn that is gone, or an object
 * that cannot be reached, ends it with an error. Rejects only with what `write` throws when the reader is gone.
 */
async function writeFrames(
  deps: EdgeDeps,
  facts: RequestFacts,
  position: TurnPosition,
  afterSeq: number,
  write: Write,
): Promise<void> {
  const { api } = position.turn.rendering;
  let read = beginRead(afterSeq, position.turn.attempt);
  let pauseMs = pauseMinMs;
  const end = (error: ErrorOutcome): Promise<void> =>
    write(renderErrorFrames(api, error, read.seq + 1, false).bytes);
  if (isPastRestart(position.turn, afterSeq)) return end(restarted);
  try {
    while (!facts.signal.aborted) {
      const { turn, text, toSeq } = await readJournal(position, read.verifiedSeq);
      const before = read.seq;
      const step = readJournaled(read, turn, text, toSeq);
      if (step.kind === "diverged") return end(restarted);
      if (step.rest !== "") await write(encoder.encode(step.rest));
      ({ read } = step);
      if (turn.state !== "running") {
        if (read.unverified !== "") return end(restarted);
        const hasFailed = turn.state === "failed" || turn.state === "cancelled";
        // The error's place in the journal is one that this reader has other events for, or this one: it is told all the same.
        return hasFailed && step.rest === "" ? end(turn.error ?? brokenOff) : undefined;
      }
      if (deps.now() >= facts.startedAtMs + readerMsMax) return end(brokenOff);
      const attached = attachTo(read, turn.attempt);
      if (attached !== null) {
        const live = await attach(deps, facts, turn, attached.seq);
        read = live === null ? attached : await writeLive(live, attached, write);
      }
      if (read.seq > before) pauseMs = pauseMinMs;
      else {
        pauseMs = Math.min(pauseMaxMs, 2 * pauseMs);
        if (pauseMs === pauseMaxMs) await write(keepAlive);
      }
      // Between the cell's end and the object's the terminal frames are not in the journal yet.
      await pause(pauseMs);
    }
  } catch {
    return end(brokenOff);
  }
}

/** The turn's stream after `afterSeq` for one reader. Its going has no effect on the turn. */
export function openTurnStream(
  deps: EdgeDeps,
  facts: RequestFacts,
  position: TurnPosition,
  afterSeq: number,
): ReadableStream<Uint8Array> {
  const { readable, writable } = new IdentityTransformStream();
  const writer = writable.getWriter();
  const work = writeFrames(deps, facts, position, afterSeq, (bytes) => writer.write(bytes))
    .then(() => writer.close())
    // The reader is gone.
    .catch(() => undefined);
  facts.waitUntil(work);
  return readable;
}
