import type { Reply } from "./reply.ts";

/** A command in RESP2, as a byte string (redis.io/docs/reference/protocol-spec). */
export function encodeCommand(parts: readonly string[]): string {
  const bulks = parts.map((part) => `$${part.length}\r\n${part}\r\n`);
  return `*${parts.length}\r\n${bulks.join("")}`;
}

/** Largest reply kept while it is incomplete, in bytes: Upstash's largest request is 10 MB, so nothing stored is larger. */
const replyBytesMax = 64 * 1024 * 1024;

/** Nothing that is served here nests deeper than a SCAN inside an EXEC. */
const nestingMax = 8;

/** Cuts RESP2 replies out of a byte stream that arrives in any pieces. */
export class ReplyReader {
  #buffer = "";
  #at = 0;

  /** Takes the next piece and answers the replies that are complete. @throws Error for bytes that are not RESP2. */
  read(piece: string): Reply[] {
    this.#buffer += piece;
    if (this.#buffer.length > replyBytesMax) throw new Error("a reply of the server is too long");
    const replies: Reply[] = [];
    for (;;) {
      this.#at = 0;
      const reply = this.#next(0);
      if (reply === undefined) return replies;
      this.#buffer = this.#buffer.slice(this.#at);
      replies.push(reply);
    }
  }

  /** The reply at the current place, or undefined while it is incomplete. */
  #next(depth: number): Reply | undefined {
    if (depth > nestingMax) throw new Error("a reply of the server is nested too deeply");
    const end = this.#buffer.indexOf("\r\n", this.#at);
    if (end < 0) return undefined;
    const kind = this.#buffer.charAt(this.#at);
    const line = this.#buffer.slice(this.#at + 1, end);
    this.#at = end + 2;
    switch (kind) {
      case "+":
        return { status: line };
      case "-":
        return { error: line };
      case ":":
        return lengthOf(line);
      case "$":
        return this.#bulk(lengthOf(line));
      case "*":
        return this.#list(lengthOf(line), depth);
      default:
        throw new Error("the server does not speak RESP2");
    }
  }

  #bulk(bytes: number): Reply | undefined {
    if (bytes < 0) return null;
    const end = this.#at + bytes;
    if (this.#buffer.length < end + 2) return undefined;
    const data = this.#buffer.slice(this.#at, end);
    this.#at = end + 2;
    return data;
  }

  #list(count: number, depth: number): Reply | undefined {
    if (count < 0) return null;
    const items: Reply[] = [];
    while (items.length < count) {
      const item = this.#next(depth + 1);
      if (item === undefined) return undefined;
      items.push(item);
    }
    return items;
  }
}

function lengthOf(line: string): number {
  if (!/^-?[0-9]{1,19}$/.test(line)) throw new Error("the server does not speak RESP2");
  return Number(line);
}
