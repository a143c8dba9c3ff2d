import type { ConversationRpc, ConversationScope, TurnView } from "#shared/conversation/rpc.ts";
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

const encoder = new TextEncoder();
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
 * Passes live frames on, up to those that the object must know first; returns the last seq written. A reader so slow that the
 * cell has dropped what comes next finds it in the journal. Each write waits for the reader, so that one that does not read
 * costs a chunk here and nothing at the cell.
 */
async function writeLive(answer: LiveAnswer, afterSeq: number, write: Write): Promise<number> {
  const scanner = new BlockScanner(afterSeq);
  const reader = answer.body.getReader();
  let seq = afterSeq;
  try {
    for (;;) {
      const { done, value } = await reader.read().catch(() => ({ done: true, value: undefined }));
      if (done || value === undefined) return seq;
      for (const block of scanner.push(value)) {
        // What follows the outcome is shown only once the turn is durable: from the journal.
        if (block.kind === "outcome" || block.kind === "invalid") return seq;
        if (block.kind === "seam" || block.kind === "surplus") continue;
        await write(block.bytes);
        if (block.kind === "frames") seq = block.toSeq;
      }
    }
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
 * all of its journal is written. Byte for byte what every other reader sees, comments aside.
 * @throws GatewayError when the turn is gone, and what `write` throws when the reader is.
 */
async function writeFrames(
  deps: EdgeDeps,
  facts: RequestFacts,
  position: TurnPosition,
  afterSeq: number,
  write: Write,
): Promise<void> {
  const { api } = position.turn.rendering;
  const isRestarted = ({ restartedAfterSeq }: TurnView, seq: number): boolean =>
    restartedAfterSeq !== null && seq > restartedAfterSeq;
  let seq = afterSeq;
  let attempt = position.turn.attempt;
  let pauseMs = pauseMinMs;
  if (isRestarted(position.turn, afterSeq)) {
    return write(renderErrorFrames(api, restarted, seq + 1, false).bytes);
  }
  while (!facts.signal.aborted) {
    const journal = await readJournal(position, seq);
    const { turn } = journal;
    // The turn began again while it was read: what was shown of the lost attempt is in no journal.
    if (turn.attempt !== attempt && isRestarted(turn, seq)) {
      return write(renderErrorFrames(api, restarted, seq + 1, false).bytes);
    }
    attempt = turn.attempt;
    const before = seq;
    if (journal.text !== "") {
      await write(encoder.encode(journal.text));
      seq = journal.toSeq;
    }
    if (turn.state !== "running") {
      const hasFailed = turn.state === "failed" || turn.state === "cancelled";
      if (!hasFailed || journal.text !== "") return;
      // The error's place in the journal is one that this reader has other events for, or this one: it is told all the same.
      return write(renderErrorFrames(api, turn.error ?? brokenOff, seq + 1, false).bytes);
    }
    if (deps.now() >= facts.startedAtMs + readerMsMax) {
      return write(renderErrorFrames(api, brokenOff, seq + 1, false).bytes);
    }
    const live = await attach(deps, facts, turn, seq);
    if (live !== null) seq = await writeLive(live, seq, write);
    if (seq > before) pauseMs = pauseMinMs;
    else {
      pauseMs = Math.min(pauseMaxMs, 2 * pauseMs);
      if (pauseMs === pauseMaxMs) await write(keepAlive);
    }
    // Between the cell's end and the object's the terminal frames are not in the journal yet.
    await pause(pauseMs);
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
  const { api } = position.turn.rendering;
  const work = writeFrames(deps, facts, position, afterSeq, (bytes) => writer.write(bytes))
    .catch(() => writer.write(renderErrorFrames(api, brokenOff, 1, false).bytes))
    .then(() => writer.close())
    // The reader is gone.
    .catch(() => undefined);
  facts.waitUntil(work);
  return readable;
}
