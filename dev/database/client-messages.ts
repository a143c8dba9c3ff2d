/** One message of a client in PostgreSQL's protocol 3.0 (PostgreSQL 15 manual, chapter 55). */
export interface ClientMessage {
  readonly kind: "sslRequest" | "cancelRequest" | "startup" | "regular";
  /** The type byte of a regular message (`Q`, `P`, `S`, …); empty for the others. */
  readonly type: string;
  /** The whole message, type and length included. */
  readonly bytes: Uint8Array;
}

/** The longest message taken. A batch of history items is far smaller. */
const messageBytesMax = 64 * 1024 * 1024;

/** Codes in the place of the protocol version: PostgreSQL manual, "SSL Session Encryption", "Canceling Requests in Progress". */
const sslRequestCode = 80_877_103;
const gssRequestCode = 80_877_104;
const cancelRequestCode = 80_877_102;

/** Cuts a client's bytes into messages, whatever the borders of the chunks. */
export class ClientMessageReader {
  #pieces: Buffer[] = [];
  #bufferedBytes = 0;
  #isStarted = false;

  push(chunk: Buffer): void {
    this.#pieces.push(chunk);
    this.#bufferedBytes += chunk.length;
  }

  /** The next whole message, or null until more bytes come. @throws RangeError for a length that no message has. */
  next(): ClientMessage | null {
    const headBytes = this.#isStarted ? 5 : 8;
    if (this.#bufferedBytes < headBytes) return null;
    const head = this.#joined(headBytes);
    const lengthAt = this.#isStarted ? 1 : 0;
    const length = head.readUInt32BE(lengthAt);
    if (length < (this.#isStarted ? 4 : 8) || length > messageBytesMax) {
      throw new RangeError(`a message of ${length} bytes`);
    }
    const total = lengthAt + length;
    if (this.#bufferedBytes < total) return null;
    const all = this.#joined(total);
    const bytes = all.subarray(0, total);
    const rest = all.subarray(total);
    this.#pieces = rest.length === 0 ? [] : [rest];
    this.#bufferedBytes = rest.length;
    if (this.#isStarted) {
      return { kind: "regular", type: String.fromCodePoint(bytes[0] ?? 0), bytes };
    }
    const code = bytes.readUInt32BE(4);
    if (code === sslRequestCode || code === gssRequestCode) {
      return { kind: "sslRequest", type: "", bytes };
    }
    if (code === cancelRequestCode) return { kind: "cancelRequest", type: "", bytes };
    this.#isStarted = true;
    return { kind: "startup", type: "", bytes };
  }

  /** The first piece, made at least `bytes` long: pieces are joined only when a message needs it, not per chunk. */
  #joined(bytes: number): Buffer {
    const first = this.#pieces[0];
    if (first !== undefined && first.length >= bytes) return first;
    const all = Buffer.concat(this.#pieces);
    this.#pieces = [all];
    return all;
  }
}
