import type { ConversationRpc, ConversationScope, TurnView } from "#shared/conversation/rpc.ts";
import { invariant } from "#shared/errors/invariant.ts";
import { BlockScanner } from "#shared/protocol/block-scanner.ts";
import type { CellAnswer, EdgeDeps } from "../ports.ts";
import type { Hops, RequestFacts } from "../request-facts.ts";
import { renderErrorFrames } from "./error-frames.ts";
import { answerHeaders, refuse, streamContentType } from "./lane-answer.ts";
import type { LaneAnswer } from "./lane-answer.ts";
import { throwRefusal } from "./prepared-turn.ts";
import { streamIdOf } from "./turn-ids.ts";

/** Pause between looks at a turn that another Worker is completing, ms. */
const pollMs = 100;
/** A stream that was broken by the platform ends with this. */
const interrupted = {
  code: "interrupted",
  message: "The stream broke off here. Send the request again with the same key to read it.",
} as const;

/** A turn that exists already, and where it lives. */
export interface Replay {
  readonly turn: TurnView;
  readonly scope: ConversationScope;
  readonly object: ConversationRpc;
  readonly rateLimit: Readonly<Record<string, string>>;
}

function pause(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, pollMs));
}

function isRunning(turn: TurnView): boolean {
  return turn.state === "running";
}

/** Waits until the turn has ended. @throws GatewayError when it is gone or the deadline passes. */
async function awaitEnd(deps: EdgeDeps, facts: RequestFacts, replay: Replay): Promise<TurnView> {
  const { object, scope, turn } = replay;
  for (;;) {
    const read = await object.readTurn({ scope, turnRandom: turn.turnRandom });
    if (read.kind === "refused") throwRefusal(read.error);
    if (!isRunning(read.value)) return read.value;
    if (deps.now() >= facts.deadlineMs) {
      throwRefusal({
        code: "deadline_exceeded",
        message: "The turn still runs. Send the request again with the same key to wait for it.",
      });
    }
    await pause();
  }
}

/** The cell's live frames after `afterSeq`; null when there is nothing to attach to. */
async function attach(
  deps: EdgeDeps,
  facts: RequestFacts,
  turn: TurnView,
  afterSeq: number,
): Promise<Extract<CellAnswer, { kind: "answer" }> | null> {
  const cell = facts.jurisdiction.cells.find(({ id }) => id === turn.cell);
  if (cell === undefined) return null;
  const answer = await deps.cells.readFrames(
    cell,
    { turnId: turn.turnId, attempt: turn.attempt, afterSeq },
    {
      requestId: facts.requestId,
      traceparent: facts.traceparent,
      deadlineMs: facts.deadlineMs,
      signal: facts.signal,
      headTimeoutMs: null,
    },
  );
  return answer.kind === "answer" ? answer : null;
}

type Write = (bytes: Uint8Array) => Promise<void>;

/** Passes live frames on, up to those that the object must know first; returns the last seq written. */
async function writeLive(
  answer: Extract<CellAnswer, { kind: "answer" }>,
  afterSeq: number,
  write: Write,
): Promise<number> {
  const scanner = new BlockScanner(afterSeq);
  const reader = answer.body.getReader();
  let seq = afterSeq;
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return seq;
      for (const block of scanner.push(value)) {
        // What follows the outcome is shown only once the turn is durable: from the journal.
        if (block.kind === "outcome" || block.kind === "invalid") return seq;
        if (block.kind === "seam") continue;
        await write(block.bytes);
        if (block.kind === "frames") seq = block.toSeq;
      }
    }
  } catch {
    return seq;
  } finally {
    reader.cancel().catch(() => undefined);
  }
}

/** Writes the journal after `afterSeq`; returns the seq reached and the turn as it is. */
async function writeJournal(
  replay: Replay,
  afterSeq: number,
  write: Write,
): Promise<{ readonly seq: number; readonly turn: TurnView }> {
  const { object, scope, turn } = replay;
  const read = await object.readJournal({ scope, turnRandom: turn.turnRandom, afterSeq });
  if (read.kind === "refused") throwRefusal(read.error);
  const { text, toSeq } = read.value;
  if (text !== "") await write(new TextEncoder().encode(text));
  return { seq: Math.max(afterSeq, toSeq), turn: read.value.turn };
}

/** The journal, then the live frames, until the turn has ended and all of its journal is written. */
async function writeStream(
  deps: EdgeDeps,
  facts: RequestFacts,
  replay: Replay,
  write: Write,
): Promise<void> {
  let seq = 0;
  for (;;) {
    const journal = await writeJournal(replay, seq, write);
    seq = journal.seq;
    if (!isRunning(journal.turn)) return;
    if (deps.now() >= facts.deadlineMs) {
      await write(renderErrorFrames(replay.turn.rendering.api, interrupted, seq + 1, false).bytes);
      return;
    }
    const live = await attach(deps, facts, journal.turn, seq);
    if (live !== null) seq = await writeLive(live, seq, write);
    // Between the cell's end and the object's the terminal frames are not in the journal yet.
    await pause();
  }
}

function hopsOf(facts: RequestFacts, turn: TurnView): Hops {
  const cell = facts.jurisdiction.cells.find(({ id }) => id === turn.cell) ?? null;
  return { hasObject: true, cell, shard: turn.shard, rejected: [] };
}

/**
 * Answers with a turn that exists: the stored answer byte for byte, the running one from its start, the failed one by its
 * error. Nothing is generated and nothing is billed again.
 */
export async function replayTurn(
  deps: EdgeDeps,
  facts: RequestFacts,
  replay: Replay,
): Promise<LaneAnswer> {
  const { turn, scope } = replay;
  const { conversationRandom, conversationId } = scope;
  const hops = hopsOf(facts, turn);
  if (turn.state === "failed" || turn.state === "cancelled") {
    return refuse(turn.error ?? interrupted, hops, replay.rateLimit);
  }
  const streamId = await streamIdOf(deps.identifiers, facts, conversationRandom, turn.turnRandom);
  const common = { conversationId, streamId, rateLimit: replay.rateLimit };
  if (turn.rendering.stream) {
    const { readable, writable } = new IdentityTransformStream();
    const writer = writable.getWriter();
    const api = turn.rendering.api;
    const work = writeStream(deps, facts, replay, (bytes) => writer.write(bytes))
      .catch(() => writer.write(renderErrorFrames(api, interrupted, 1, false).bytes))
      .then(() => writer.close());
    facts.waitUntil(work);
    const headers = answerHeaders({
      contentType: streamContentType,
      shard: turn.shard,
      ...common,
    });
    return { response: new Response(readable, { headers }), hops };
  }
  const ended = isRunning(turn) ? await awaitEnd(deps, facts, replay) : turn;
  const known = hopsOf(facts, ended);
  if (ended.state === "failed" || ended.state === "cancelled") {
    return refuse(ended.error ?? interrupted, known, replay.rateLimit);
  }
  invariant(ended.body !== null, "a turn that ended well has a body");
  const headers = answerHeaders({
    contentType: "application/json",
    shard: ended.shard,
    ...common,
  });
  return { response: new Response(ended.body, { headers }), hops: known };
}
