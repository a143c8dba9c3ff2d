import { GatewayError } from "#shared/errors/gateway-error.ts";

/** Bytes of a body of text, and of one that carries images; docs/architecture.md, security. */
export const textBodyBytesMax = 1024 * 1024;
export const imageBodyBytesMax = 20 * 1024 * 1024;

function tooLarge(bytesMax: number): GatewayError {
  return new GatewayError(
    "body_too_large",
    `The request body is larger than ${bytesMax} bytes. Send less, or send images by URL.`,
  );
}

/** Refuses what is not plain JSON by its headers, before a byte of the body is read. */
function checkHeaders(headers: Headers): void {
  const type = headers.get("content-type") ?? "";
  if (!/^application\/json(;\s*charset="?utf-8"?)?$/i.test(type.trim())) {
    throw new GatewayError(
      "unsupported_media_type",
      "The request body must be JSON: send 'Content-Type: application/json'.",
    );
  }
  const encoding = headers.get("content-encoding") ?? "identity";
  if (encoding.toLowerCase() !== "identity") {
    throw new GatewayError("unsupported_media_type", "Compressed request bodies are not read.");
  }
}

/** Whether the first mebibyte names an image part; only then may a body be larger. */
function showsImage(chunks: readonly Uint8Array[]): boolean {
  const decoder = new TextDecoder("latin1");
  const text = chunks.map((chunk) => decoder.decode(chunk)).join("");
  return text.includes('"image_url"') || text.includes('"input_image"');
}

/** Reads a body in pieces and counts: the first byte too many ends it, whatever length was announced. */
async function readCounted(body: ReadableStream<Uint8Array>): Promise<Uint8Array> {
  const reader = body.getReader();
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  let bytesMax = textBodyBytesMax;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    bytes += value.length;
    chunks.push(value);
    if (bytes > bytesMax && bytesMax === textBodyBytesMax && showsImage(chunks)) {
      bytesMax = imageBodyBytesMax;
    }
    if (bytes > bytesMax) {
      // Left unread rather than cancelled: whoever owns the connection decides what becomes of the rest.
      reader.releaseLock();
      throw tooLarge(bytesMax);
    }
  }
  const whole = new Uint8Array(bytes);
  let at = 0;
  for (const chunk of chunks) {
    whole.set(chunk, at);
    at += chunk.length;
  }
  return whole;
}

/** Without `stream` it keeps nothing between two bodies. */
const strictDecoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: false });

/** A body's bytes and text. */
export interface ReadBody {
  readonly bytes: Uint8Array;
  readonly text: string;
}

/**
 * The body of a request as text.
 * @throws GatewayError 415 for another type or a compressed one, 413 when it is too large, 400 when it is not UTF-8.
 */
export async function readBody(request: Request): Promise<ReadBody> {
  checkHeaders(request.headers);
  const announced = Number(request.headers.get("content-length") ?? Number.NaN);
  if (announced > imageBodyBytesMax) throw tooLarge(imageBodyBytesMax);
  let bytes: Uint8Array = new Uint8Array(0);
  if (request.body !== null) {
    // A length that was announced is enforced by the platform, so a small body is read natively.
    bytes =
      announced <= textBodyBytesMax
        ? new Uint8Array(await request.arrayBuffer())
        : await readCounted(request.body);
  }
  try {
    const text = strictDecoder.decode(bytes);
    return { bytes, text };
  } catch {
    throw new GatewayError("invalid_request", "The request body is not valid UTF-8.");
  }
}
