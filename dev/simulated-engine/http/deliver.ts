/** Sends a generation to the client, streamed or whole, and lets faults strike at their token. */
import type { Driver } from "../driver.ts";
import { decode } from "../text/tokenizer.ts";
import { errorBody } from "./errors.ts";
import { untilClosed } from "./early-faults.ts";
import type { FaultKind } from "./faults.ts";
import { sendJson, writeBytes, writeEventText, type Exchange } from "./exchange.ts";
import type { Generation, TimedPiece } from "./generation.ts";
import type { Renderer } from "./renderer.ts";

export interface Delivery {
  readonly exchange: Exchange;
  readonly generation: Generation;
  readonly renderer: Renderer;
  readonly driver: Driver;
  readonly speed: number;
  readonly isStreamed: boolean;
  readonly hasUsage: boolean;
  readonly hasContinuousUsage: boolean;
  readonly headers: Record<string, string>;
  readonly crash: () => void;
}

/** Bytes of the line that `huge-line` sends: F-53. */
const hugeLineBytes = 50 * 1024 * 1024;
const notUtf8 = Buffer.from([0xff, 0xfe, 0x00, 0xc3, 0x28, 0xf0, 0x9f]);

/** Holds a piece back so that the gaps between tokens are `factor` times longer. */
async function slowDown(delivery: Delivery, timed: TimedPiece, previousMs: number): Promise<void> {
  const factor = delivery.exchange.fault?.factor ?? 10;
  const extraMs = ((timed.modelMs - previousMs) * (factor - 1)) / delivery.speed;
  await new Promise((resolve) => setTimeout(resolve, Math.max(extraMs, 1)));
}

/** A text that goes on until the client has had enough. */
async function neverEnd(delivery: Delivery, chunkOf: (text: string) => string): Promise<void> {
  const answer = delivery.generation.answers[0];
  const { exchange } = delivery;
  for (let index = 10; answer !== undefined && exchange.isOpen(); index += 1) {
    await writeBytes(exchange, chunkOf(decode([answer.tokenAt(index)])));
    await new Promise((resolve) => setTimeout(resolve, Math.max(10 / delivery.speed, 1)));
  }
}

function eventOf(chunk: object): string {
  return `data: ${JSON.stringify(chunk)}\n\n`;
}

function modelOverride(delivery: Delivery, chunk: object): object {
  return delivery.exchange.fault?.kind === "wrong-model"
    ? { ...chunk, model: "sim/another-model" }
    : chunk;
}

/** What a fault does at its token in a stream; true when the exchange is over. */
type StreamStrike = (delivery: Delivery, text: string) => Promise<boolean>;

/** Until the kernel has taken what was written; else a reset overtakes the tokens before it. */
function untilFlushed(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 5));
}

const streamStrikes: Partial<Record<FaultKind, StreamStrike>> = {
  async stall({ exchange }) {
    await untilClosed(exchange);
    return true;
  },
  async cut({ exchange }) {
    await untilFlushed();
    exchange.response.destroy();
    return true;
  },
  async crash({ crash }) {
    await untilFlushed();
    crash();
    return true;
  },
  async "clean-end"({ exchange }) {
    exchange.response.end();
    return true;
  },
  async "error-chunk"({ exchange }) {
    await writeBytes(exchange, eventOf(errorBody(500, "Simulated fault error-chunk.")));
    exchange.response.end("data: [DONE]\n\n");
    return true;
  },
  async garbage({ exchange }) {
    const bytes = [Buffer.from("data: "), notUtf8, Buffer.from("\n\n"), notUtf8];
    await writeBytes(exchange, Buffer.concat(bytes));
    return false;
  },
  async "bad-json"({ exchange }, text) {
    await writeBytes(exchange, `${text.trimEnd().slice(0, -7)}\n\n`);
    return false;
  },
  async "huge-line"({ exchange }) {
    await writeBytes(
      exchange,
      Buffer.concat([Buffer.from("data: "), Buffer.alloc(hugeLineBytes, "x"), Buffer.from("\n\n")]),
    );
    return false;
  },
  async "repeat-chunk"({ exchange }, text) {
    await writeBytes(exchange, text);
    return false;
  },
};

async function strikeStream(delivery: Delivery, text: string): Promise<boolean> {
  const { fault, record } = delivery.exchange;
  if (fault === undefined || record.tokens !== (fault.afterTokens ?? 0)) return false;
  return (await streamStrikes[fault.kind]?.(delivery, text)) ?? false;
}

async function deliverStream(delivery: Delivery): Promise<void> {
  const { exchange, generation, renderer } = delivery;
  const { response, fault, record } = exchange;
  const type =
    fault?.kind === "wrong-content-type"
      ? "application/octet-stream"
      : "text/event-stream; charset=utf-8";
  response.writeHead(200, {
    "content-type": type,
    "cache-control": "no-cache",
    ...delivery.headers,
  });
  response.flushHeaders();
  response.socket?.setNoDelay(true);
  const strikeAt = fault?.afterTokens ?? 0;
  let previousMs = generation.startedAtMs;
  let hasBegun = false;
  for await (const timed of generation.pieces()) {
    if (fault?.kind === "slow") await slowDown(delivery, timed, previousMs);
    previousMs = timed.modelMs;
    if (!hasBegun) {
      hasBegun = true;
      for (const chunk of renderer.begin())
        await writeEventText(exchange, eventOf(modelOverride(delivery, chunk)));
    }
    const withUsage = delivery.hasContinuousUsage ? { usage: generation.usage() } : {};
    const piece =
      fault?.kind === "never-ends" ? { ...timed.piece, finish: undefined } : timed.piece;
    const text = renderer
      .piece(piece)
      .map((chunk) => eventOf(modelOverride(delivery, { ...chunk, ...withUsage })))
      .join("");
    if (await strikeStream(delivery, text)) return;
    if (fault?.kind !== "bad-json" || record.tokens !== strikeAt)
      await writeEventText(exchange, text);
    record.tokens += timed.piece.tokenIds.length;
    if (!exchange.isOpen()) return;
  }
  if (!exchange.isOpen()) return;
  if (fault?.kind === "never-ends") {
    const noFinish = { choice: 0, tokenIds: [], logprobs: [], call: undefined, finish: undefined };
    return neverEnd(delivery, (text) =>
      renderer
        .piece({ ...noFinish, text })
        .map(eventOf)
        .join(""),
    );
  }
  if (delivery.hasUsage)
    await writeEventText(exchange, eventOf(renderer.usageChunk(generation.usage())));
  if (fault?.kind === "double-done")
    await writeBytes(exchange, "data: [DONE]\n\ndata: [DONE]\n\ndata: {}\n\n");
  if (fault?.kind !== "no-done") await writeEventText(exchange, "data: [DONE]\n\n");
  response.end();
}

type JsonHeaders = Record<string, string | number>;
type BodyStrike = (delivery: Delivery, body: Buffer, json: JsonHeaders) => void | Promise<void>;

function firstHalf(body: Buffer): Buffer {
  return body.subarray(0, Math.floor(body.length / 2));
}

function sendHalf({ exchange: { response } }: Delivery, body: Buffer, json: JsonHeaders): void {
  const half = firstHalf(body);
  response.writeHead(200, { ...json, "content-length": half.length });
  response.end(half);
}

/** What a fault makes of a whole answer. */
const bodyStrikes: Partial<Record<FaultKind, BodyStrike>> = {
  "bad-json": sendHalf,
  "clean-end": sendHalf,
  "error-chunk"({ exchange, headers }) {
    sendJson(exchange.response, 200, errorBody(500, "Simulated fault error-chunk."), headers);
  },
  garbage({ exchange: { response } }, body, json) {
    response.writeHead(200, json);
    response.end(Buffer.concat([firstHalf(body), notUtf8]));
  },
  async cut({ exchange }, body, json) {
    exchange.response.writeHead(200, { ...json, "content-length": body.length });
    await writeBytes(exchange, firstHalf(body));
    await untilFlushed();
    exchange.response.destroy();
  },
  async "never-ends"(delivery, body, json) {
    delivery.exchange.response.writeHead(200, json);
    await writeBytes(delivery.exchange, firstHalf(body));
    await neverEnd(delivery, (text) => text);
  },
  "huge-line"({ exchange: { response } }, _body, json) {
    response.writeHead(200, json);
    response.end(Buffer.alloc(hugeLineBytes, " "));
  },
  "wrong-content-type"({ exchange: { response } }, body, json) {
    response.writeHead(200, { ...json, "content-type": "application/octet-stream" });
    response.end(body);
  },
  async "split-utf8"({ exchange }, body, json) {
    exchange.response.writeHead(200, json);
    await writeEventText(exchange, body.toString("utf8"));
    exchange.response.end();
  },
};

async function deliverBody(delivery: Delivery, body: Buffer): Promise<void> {
  const { response, fault } = delivery.exchange;
  const json = { "content-type": "application/json", ...delivery.headers };
  const strike = fault === undefined ? undefined : bodyStrikes[fault.kind];
  if (strike !== undefined) return strike(delivery, body, json);
  response.writeHead(200, { ...json, "content-length": body.length });
  response.end(body);
}

/** Faults at a token that also matter when nothing is streamed. @returns true when the exchange is over. */
async function strikeWhole(delivery: Delivery): Promise<boolean> {
  const { exchange } = delivery;
  if (exchange.fault?.kind === "crash") delivery.crash();
  else if (exchange.fault?.kind === "stall") await untilClosed(exchange);
  else return false;
  return true;
}

async function deliverWhole(delivery: Delivery): Promise<void> {
  const { exchange, generation, renderer } = delivery;
  const { fault, record } = exchange;
  let previousMs = generation.startedAtMs;
  for await (const timed of generation.pieces()) {
    if (fault?.kind === "slow") await slowDown(delivery, timed, previousMs);
    previousMs = timed.modelMs;
    if (record.tokens === (fault?.afterTokens ?? 0) && (await strikeWhole(delivery))) return;
    renderer.piece(timed.piece);
    record.tokens += timed.piece.tokenIds.length;
  }
  if (!exchange.isOpen()) return;
  const body = modelOverride(delivery, renderer.body(generation.usage()));
  await deliverBody(delivery, Buffer.from(JSON.stringify(body), "utf8"));
}

/** Sends the answer. When the client goes, the generation is aborted at once. */
export async function deliver(delivery: Delivery): Promise<void> {
  delivery.exchange.onAbort(() => delivery.generation.abort());
  try {
    await (delivery.isStreamed ? deliverStream(delivery) : deliverWhole(delivery));
  } finally {
    delivery.generation.abort();
  }
}
