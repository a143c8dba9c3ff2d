import type { IncomingMessage } from "node:http";

/** Largest request, in bytes: Upstash's own limit of 10 MB. */
export const bodyBytesMax = 10 * 1024 * 1024;

/** The body as a byte string, or undefined when it is larger than `bodyBytesMax`. Reads to the end in any case. */
export async function readBody(request: IncomingMessage): Promise<string | undefined> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request) {
    if (!Buffer.isBuffer(chunk)) continue;
    bytes += chunk.length;
    if (bytes <= bodyBytesMax) chunks.push(chunk);
  }
  return bytes > bodyBytesMax ? undefined : Buffer.concat(chunks).toString("latin1");
}
