import { heartbeatBlock } from "#shared/protocol/internal/stream.ts";
import { cursorAt } from "../turns/frame-log.ts";
import type { Cursor } from "../turns/frame-log.ts";
import type { RunningTurn } from "../turns/running-turn.ts";
import type { CellDeps } from "./cell-deps.ts";
import { outcomeHeaders, placeHeaders, respondError, waitHeaders } from "./respond.ts";

const heartbeat = Buffer.from(heartbeatBlock, "utf8");

/**
 * Answers a reader of `turn`, from the frames after `afterSeq` on. The head is sent when the shard has begun to answer, the
 * turn has ended, or a heartbeat is due: a turn that failed before is an HTTP error, one that failed later an outcome. While the reader is there it counts as one; a stateless
 * turn ends with its last reader.
 */
export async function answerTurn(
  turn: RunningTurn,
  afterSeq: number,
  signal: AbortSignal,
  deps: CellDeps,
): Promise<Response> {
  const detach = turn.attach();
  signal.addEventListener("abort", detach, { once: true });
  if (signal.aborted) detach();
  const { lane, rendering } = turn.request;
  const isDocument = lane === "stateless" && !rendering.stream;
  await (isDocument ? turn.ended() : begunWithin(turn, deps));
  const ending = turn.ending();
  const headers = { ...placesOf(turn, deps), ...waitHeaders(turn.expectedWaitMs()) };
  if (ending !== null) {
    const { body, outcome } = ending;
    if (outcome.error !== null && (isDocument || !turn.hasBegun())) {
      detach();
      return respondError(outcome.error, { ...headers, ...outcomeHeaders(outcome) });
    }
    if (isDocument) {
      detach();
      const text = body ?? "";
      return new Response(text, {
        headers: {
          ...headers,
          ...outcomeHeaders(outcome),
          "content-type": "application/json",
          "content-length": String(Buffer.byteLength(text, "utf8")),
        },
      });
    }
  }
  return respondStream(streamTurn(turn, afterSeq, detach, deps), headers);
}

/**
 * Answers who follows a turn that runs or ran, at once and with a first comment: an object that pulls must be able to tell a
 * turn that has not said anything yet from a cell that is gone. A turn that failed is an outcome, whenever it failed.
 */
export function followTurn(turn: RunningTurn, afterSeq: number, deps: CellDeps): Response {
  const headers = placesOf(turn, deps);
  return respondStream(streamTurn(turn, afterSeq, turn.attach(), deps, true), headers);
}

/**
 * Ends the turn if it runs, which aborts its shard's request before this returns, and answers with the rest of its stream:
 * frames after `afterSeq`, outcome, terminal frames. Where frames in between were acknowledged, only with the outcome.
 */
export function stopTurn(turn: RunningTurn, afterSeq: number, deps: CellDeps): Response {
  turn.abort(null);
  const { frames } = turn;
  const from = afterSeq < frames.firstReadableAfter() ? frames.lastSeq() : afterSeq;
  const chunks: Uint8Array[] = [];
  let chunk = frames.read(cursorAt(from));
  while (chunk !== null) {
    chunks.push(chunk.bytes);
    chunk = chunk.isEnd ? null : frames.read(chunk.cursor);
  }
  return new Response(Buffer.concat(chunks), {
    headers: { ...placesOf(turn, deps), "content-type": "text/event-stream" },
  });
}

function placesOf(turn: RunningTurn, deps: CellDeps): Record<string, string> {
  return placeHeaders(deps, { tenant: turn.request.tenant, shard: turn.shard() });
}

function respondStream(
  stream: ReadableStream<Uint8Array>,
  headers: Record<string, string>,
): Response {
  return new Response(stream, {
    headers: { ...headers, "content-type": "text/event-stream", "cache-control": "no-store" },
  });
}

/** The frames of `turn` as they come; what a stateless reader has taken is dropped, since nobody can ask for it again. */
function streamTurn(
  turn: RunningTurn,
  afterSeq: number,
  detach: () => void,
  deps: CellDeps,
  opensWithComment = false,
): ReadableStream<Uint8Array> {
  let cursor: Cursor = cursorAt(afterSeq);
  let isCancelled = false;
  const { frames } = turn;
  return new ReadableStream<Uint8Array>(
    {
      start(controller) {
        if (opensWithComment) controller.enqueue(heartbeat);
      },
      async pull(controller) {
        let chunk = frames.read(cursor);
        while (chunk === null) {
          const isChanged = await changedWithin(turn, deps);
          if (isCancelled) return;
          if (!isChanged) return controller.enqueue(heartbeat);
          chunk = frames.read(cursor);
        }
        cursor = chunk.cursor;
        if (chunk.bytes.byteLength > 0) controller.enqueue(chunk.bytes);
        if (turn.request.lane === "stateless") frames.acknowledge(cursor.seq);
        if (!chunk.isEnd) return;
        detach();
        controller.close();
      },
      cancel() {
        isCancelled = true;
        detach();
      },
    },
    { highWaterMark: 0 },
  );
}

/** Waits for the head of an answer; a turn that waits long for its shard is kept alive by comments instead. */
function begunWithin(turn: RunningTurn, deps: CellDeps): Promise<void> {
  return new Promise((resolve) => {
    const stop = deps.clock.after(deps.heartbeatMs, resolve);
    void turn.begun().then(() => {
      stop();
      resolve();
    });
  });
}

/**
 * A stateless stream that is silent says so often: where the platform tells the edge of a client that went only by a failed
 * write (workerd outside Cloudflare's network), two comments must fit into the 500 ms within which its prompt ends.
 */
const statelessHeartbeatMs = 200;

function heartbeatMsOf(turn: RunningTurn, deps: CellDeps): number {
  const { lane } = turn.request;
  return lane === "stateless" ? Math.min(statelessHeartbeatMs, deps.heartbeatMs) : deps.heartbeatMs;
}

/** Whether the frames changed within the heartbeat's time. */
function changedWithin(turn: RunningTurn, deps: CellDeps): Promise<boolean> {
  return new Promise((resolve) => {
    const stop = deps.clock.after(heartbeatMsOf(turn, deps), () => resolve(false));
    void turn.frames.changed().then(() => {
      stop();
      resolve(true);
    });
  });
}
