import type { ErrorCode } from "#shared/errors/codes.ts";
import { formatClientFrame, formatOutcomeBlock } from "#shared/protocol/internal/stream.ts";
import type { TurnRequest } from "#shared/protocol/internal/turn-request.ts";
import type { TurnOutcome } from "#shared/protocol/internal/turn-outcome.ts";
import type { CellId, RegionId, ShardId } from "#shared/residency/brands.ts";

/** One call that a fake cell got. */
export interface CellCallSeen {
  readonly cell: string;
  readonly method: string;
  readonly path: string;
  readonly headers: Headers;
  readonly turn: TurnRequest | null;
}

/** The text of the answers, cut into the pieces that are streamed. */
export const answerPieces = ["Hel", "lo, wörld ", "🙂"];
/** The whole answer. */
export const answerText = answerPieces.join("");

/** The outcome of a turn that ended well. */
export function outcomeOf(turn: TurnRequest, over: Partial<TurnOutcome> = {}): TurnOutcome {
  const { itemIdStem, publicId, api } = turn.rendering;
  const id = `msg_${itemIdStem}_0`;
  const content = [{ type: "output_text", text: answerText, annotations: [] }];
  const item = { id, type: "message", role: "assistant", status: "completed", content };
  return {
    v: 1,
    turnId: turn.turnId,
    attempt: turn.attempt,
    status: "completed",
    error: null,
    cell: turn.cell,
    region: "eu-west-1" as RegionId,
    shard: `${turn.cell}/llama-0` as ShardId,
    rejected: [],
    usage: { promptTokens: 10, completionTokens: 3, cachedTokens: 0, reasoningTokens: 0 },
    finishReasons: ["stop"],
    items: turn.lane === "durable" ? [{ id, type: "message", json: JSON.stringify(item) }] : [],
    body: turn.lane === "durable" ? JSON.stringify({ id: publicId, api, answerText }) : null,
    queueWaitMs: 0,
    mayMove: false,
    continuations: 0,
    ttftMs: 5,
    totalMs: 9,
    ...over,
  };
}

/** The frames before the outcome that the client has not got yet, each a block. */
export function contentFrames(turn: TurnRequest): string[] {
  const frames = answerPieces.map((text, index) =>
    formatClientFrame(index + 1, {
      event: null,
      data: JSON.stringify({ id: turn.rendering.publicId, text }),
    }),
  );
  return frames.slice(turn.resume?.toSeq ?? 0);
}

/** The terminal frame. */
export function doneFrame(): string {
  return formatClientFrame(answerPieces.length + 1, { event: null, data: "[DONE]" });
}

/** A cell's stream from its blocks; null at the end of the list cuts the connection there. */
export function streamOf(blocks: readonly (string | null)[]): Response {
  const encoder = new TextEncoder();
  const queue = [...blocks];
  const body = new ReadableStream<Uint8Array>({
    pull(controller) {
      const block = queue.shift();
      if (block === undefined) controller.close();
      else if (block === null) controller.error(new Error("Network connection lost."));
      else controller.enqueue(encoder.encode(block));
    },
  });
  return new Response(body, {
    headers: {
      "content-type": "text/event-stream",
      "x-meridian-shard": "eu-west-1a/llama-0",
      "x-meridian-level": "1",
    },
  });
}

/** What a healthy cell answers to a turn. */
export function healthyAnswer(turn: TurnRequest): Response {
  const { stream } = turn.rendering;
  const outcome = JSON.stringify(outcomeOf(turn));
  if (stream) {
    return streamOf([...contentFrames(turn), formatOutcomeBlock(outcome), doneFrame()]);
  }
  if (turn.lane === "durable") return streamOf([": keep-alive\n\n", formatOutcomeBlock(outcome)]);
  return Response.json(
    { id: turn.rendering.publicId, answerText },
    { headers: { "x-meridian-outcome": outcome, "x-meridian-level": "1" } },
  );
}

/** The error of a turn that the cell had accepted. */
export function failedAnswer(
  turn: TurnRequest,
  status: number,
  code: ErrorCode,
  mayMove = false,
): Response {
  const error = { code, message: `cell says ${code}` };
  const outcome = JSON.stringify(
    outcomeOf(turn, { status: "failed", error, mayMove, items: [], body: null }),
  );
  return errorAnswer(status, code, { "x-meridian-outcome": outcome });
}

/** An error as a cell answers it before it has accepted the turn. */
export function errorAnswer(status: number, code: string, headers: Record<string, string> = {}) {
  return Response.json(
    { error: { message: `cell says ${code}`, type: "api_error", param: null, code } },
    { status, headers },
  );
}

/** How fake cells behave: the answer to the nth turn that is put to them, from 0. */
export type TurnAnswers = (turn: TurnRequest, count: number, cell: CellId) => Response;

/** Stands for every cell and for the health KV. Give `fetch` of the Worker over to {@link FakeCells.fetch}. */
export class FakeCells {
  readonly seen: CellCallSeen[] = [];
  answers: TurnAnswers = healthyAnswer;
  /** The answer to a cell that is told to stop a turn, of which the object has frames up to `afterSeq`. */
  stop: (afterSeq: number) => Response = () => Response.json({ kind: "ok" });
  /** The answer to a reader that joins a running turn after `afterSeq`. */
  frames: (afterSeq: number) => Response = () => errorAnswer(404, "not_found");

  readonly fetch = async (
    input: Parameters<typeof fetch>[0],
    init?: RequestInit,
  ): Promise<Response> => {
    const request = new Request(input, init);
    const url = new URL(request.url);
    if (url.hostname === "kv.test") return new Response("[]", { status: 500 });
    const cell = url.hostname.replace(".test", "");
    const text = await request.text();
    const isTurn = request.method === "PUT";
    const turn = isTurn ? (JSON.parse(text) as TurnRequest) : null;
    const count = this.turns.length;
    this.seen.push({
      cell,
      method: request.method,
      path: url.pathname + url.search,
      headers: request.headers,
      turn,
    });
    if (turn !== null) return this.answers(turn, count, cell as CellId);
    if (url.pathname === "/internal/history") return Response.json({ kind: "applied" });
    if (request.method === "DELETE") return this.stop(Number(url.searchParams.get("after")));
    if (!url.pathname.endsWith("/frames")) return Response.json({});
    return this.frames(Number(url.searchParams.get("after")));
  };

  /** The turns that were put to cells, in order. */
  get turns(): CellCallSeen[] {
    return this.seen.filter(({ turn }) => turn !== null);
  }
}
