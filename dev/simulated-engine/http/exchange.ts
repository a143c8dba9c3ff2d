/** One HTTP exchange: reading the body, writing JSON, server-sent events and raw bytes. */
import type { IncomingMessage, ServerResponse } from "node:http";
import { EngineError, errorBody } from "./errors.ts";
import type { FaultSpec } from "./faults.ts";
import type { RequestRecord } from "./request-log.ts";

/** Bodies above this are refused with 413. */
const bodyBytesMax = 25 * 1024 * 1024;

export interface Exchange {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly record: RequestRecord;
  /** The fault that hits this request, if any. */
  readonly fault: FaultSpec | undefined;
  /** Whether the client is still there. */
  isOpen(): boolean;
  /** Runs once when the client goes before the answer is complete. */
  onAbort(listener: () => void): void;
}

/** Reads a body of at most 25 MiB. @throws EngineError 413. */
export async function readBody(request: IncomingMessage): Promise<Buffer> {
  const parts: Buffer[] = [];
  let bytes = 0;
  for await (const part of request) {
    const chunk: Buffer = Buffer.isBuffer(part) ? part : Buffer.from(String(part));
    bytes += chunk.length;
    if (bytes > bodyBytesMax)
      throw new EngineError(413, `The body is larger than ${bodyBytesMax} bytes.`);
    parts.push(chunk);
  }
  return Buffer.concat(parts);
}

/** Parses a JSON body. @throws EngineError 400. */
export function parseJson(body: Buffer): unknown {
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(body));
  } catch {
    throw new EngineError(400, "The body is not valid JSON in UTF-8.");
  }
}

/** Answers with JSON. */
export function sendJson(
  response: ServerResponse,
  status: number,
  body: unknown,
  headers: Record<string, string> = {},
): void {
  if (response.headersSent || response.destroyed) return;
  const bytes = Buffer.from(JSON.stringify(body), "utf8");
  response.writeHead(status, {
    "content-type": "application/json",
    "content-length": bytes.length,
    ...headers,
  });
  response.end(bytes);
}

/** Answers with an error in vLLM's shape. */
export function sendError(
  response: ServerResponse,
  error: EngineError,
  headers: Record<string, string> = {},
): void {
  sendJson(response, error.status, errorBody(error.status, error.message), headers);
}

/** Writes and waits for the socket when it is full, so that a reader who never reads costs bounded memory. */
export async function writeBytes(exchange: Exchange, bytes: Uint8Array | string): Promise<void> {
  const { response } = exchange;
  if (!exchange.isOpen() || response.write(bytes)) return;
  await new Promise<void>((resolve) => {
    response.once("drain", resolve);
    response.once("close", resolve);
  });
}

/** Cuts bytes at the places that break careless decoders: inside `data:`, inside characters, between the two line feeds. */
export function awkwardPieces(bytes: Buffer): Buffer[] {
  const cuts = [2, bytes.length - 1];
  for (const [at, byte] of bytes.entries()) if ((byte & 0xc0) === 0x80) cuts.push(at);
  const ordered = [...new Set(cuts)]
    .filter((cut) => cut > 0 && cut < bytes.length)
    .toSorted((a, b) => a - b);
  return [0, ...ordered].map((cut, at) => bytes.subarray(cut, ordered[at] ?? bytes.length));
}

/** Writes one event's text; with the fault `split-utf8` in separate packets. */
export async function writeEventText(exchange: Exchange, text: string): Promise<void> {
  if (exchange.fault?.kind !== "split-utf8") return writeBytes(exchange, text);
  for (const piece of awkwardPieces(Buffer.from(text, "utf8"))) {
    await writeBytes(exchange, piece);
    // A turn of the event loop between writes, so that the kernel gets them one by one.
    await new Promise((resolve) => setImmediate(resolve));
  }
}
