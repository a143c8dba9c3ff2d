import { outcomeBlockStart, readSurplus, seamBlock, surplusBlock } from "./internal/stream.ts";

/** What stands in a cell's stream, in order. Bytes are views into what was pushed, never copies of complete chunks. */
export type ScannedBlocks =
  /** A run of complete client frames, `fromSeq`..`toSeq` gapless, as the client gets them. */
  | {
      readonly kind: "frames";
      readonly bytes: Uint8Array;
      readonly fromSeq: number;
      readonly toSeq: number;
    }
  /** Comments; they keep connections open and are in no journal. */
  | { readonly kind: "comment"; readonly bytes: Uint8Array }
  /** Another shard went on with the answer here. */
  | { readonly kind: "seam" }
  /** Tokens beyond one for each piece so far. */
  | { readonly kind: "surplus"; readonly tokens: number }
  /** The text after `data: ` of an outcome block, as bytes of JSON. */
  | { readonly kind: "outcome"; readonly json: Uint8Array }
  /** The stream is not what a cell sends; nothing after it is read. */
  | { readonly kind: "invalid"; readonly reason: "block" | "seq" | "tooLong" };

/**
 * Longest block, in bytes: an outcome carries the whole answer twice (items and body), so it is as long as the longest
 * answer; 8 MiB is 64 times a 32,768-token answer of 4 bytes a token.
 */
export const blockBytesMax = 8 * 1024 * 1024;

const newline = 0x0a;
const colon = 0x3a;

function ascii(text: string): Uint8Array {
  return Uint8Array.from(text, (character) => character.charCodeAt(0));
}

const idStart = ascii("id: ");
/** Without the number and what follows it. */
const surplusStart = ascii(surplusBlock(0).slice(0, -3));
const seamStart = ascii(seamBlock);
const outcomeStart = ascii(`${outcomeBlockStart}data: `);

function startsWith(bytes: Uint8Array, start: number, end: number, prefix: Uint8Array): boolean {
  if (end - start < prefix.length) return false;
  for (let index = 0; index < prefix.length; index += 1) {
    if (bytes[start + index] !== prefix[index]) return false;
  }
  return true;
}

/** The number after `id: `, at most 15 digits, or null. */
function readSeq(bytes: Uint8Array, start: number, end: number): number | null {
  let seq = 0;
  let index = start + idStart.length;
  const first = index;
  for (; index < end; index += 1) {
    const digit = (bytes[index] ?? 0) - 0x30;
    if (digit < 0 || digit > 9) break;
    seq = seq * 10 + digit;
  }
  const digits = index - first;
  return digits > 0 && digits <= 15 && bytes[index] === newline ? seq : null;
}

/**
 * Finds the borders of blocks in a cell's stream without decoding a byte, so that a chunk of many frames is one write.
 * Holds at most one incomplete block. Time is linear in the bytes: an incomplete block is searched on from where the
 * last search ended.
 */
export class BlockScanner {
  /** An incomplete block, in a buffer that grows by doubling; what was handed out never lies in a buffer that grows on. */
  #carry: Uint8Array = new Uint8Array(0);
  #carried = 0;
  #searchedTo = 0;
  #lastSeq: number;
  #isInvalid = false;

  /** `lastSeq` is the seq of the last frame that was read before; the next must be one higher. */
  constructor(lastSeq = 0) {
    this.#lastSeq = lastSeq;
  }

  /** Whether an incomplete block is waiting: a stream that ends now was cut. */
  get hasIncompleteBlock(): boolean {
    return this.#carried > 0;
  }

  /** The complete blocks of `chunk`, together with what was left over before. Runs of one kind come as one. */
  push(chunk: Uint8Array): readonly ScannedBlocks[] {
    if (this.#isInvalid || chunk.length === 0) return [];
    const bytes = this.#joined(chunk);
    const found: ScannedBlocks[] = [];
    let start = 0;
    let runStart = 0;
    let runKind: "frames" | "comment" | null = null;
    let runFromSeq = 0;
    const closeRun = (end: number): void => {
      if (runKind === "frames") {
        const run = bytes.subarray(runStart, end);
        found.push({ kind: "frames", bytes: run, fromSeq: runFromSeq, toSeq: this.#lastSeq });
      } else if (runKind === "comment") {
        found.push({ kind: "comment", bytes: bytes.subarray(runStart, end) });
      }
      runKind = null;
    };
    const refuse = (reason: "block" | "seq" | "tooLong"): readonly ScannedBlocks[] => {
      closeRun(start);
      this.#isInvalid = true;
      this.#carried = 0;
      found.push({ kind: "invalid", reason });
      return found;
    };

    let searchFrom = Math.max(0, this.#searchedTo - 1);
    for (;;) {
      const at = bytes.indexOf(newline, searchFrom);
      if (at === -1 || at + 1 >= bytes.length) {
        this.#searchedTo = at === -1 ? bytes.length : at;
        break;
      }
      if (bytes[at + 1] !== newline) {
        searchFrom = at + 1;
        continue;
      }
      const end = at + 2;
      if (bytes[start] === colon && startsWith(bytes, start, end, seamStart)) {
        closeRun(start);
        found.push({ kind: "seam" });
      } else if (bytes[start] === colon && startsWith(bytes, start, end, surplusStart)) {
        closeRun(start);
        const tokens = readSurplus(String.fromCharCode(...bytes.subarray(start, end)));
        if (tokens === null) return refuse("block");
        found.push({ kind: "surplus", tokens });
      } else if (bytes[start] === colon) {
        if (runKind !== "comment") {
          closeRun(start);
          runKind = "comment";
          runStart = start;
        }
      } else if (startsWith(bytes, start, end, idStart)) {
        const seq = readSeq(bytes, start, end);
        if (seq === null) return refuse("block");
        if (seq !== this.#lastSeq + 1) return refuse("seq");
        if (runKind !== "frames") {
          closeRun(start);
          runKind = "frames";
          runStart = start;
          runFromSeq = seq;
        }
        this.#lastSeq = seq;
      } else if (startsWith(bytes, start, end, outcomeStart)) {
        closeRun(start);
        found.push({ kind: "outcome", json: bytes.subarray(start + outcomeStart.length, at) });
      } else {
        return refuse("block");
      }
      start = end;
      searchFrom = end;
    }
    closeRun(start);
    if (bytes.length - start > blockBytesMax) return refuse("tooLong");
    this.#keep(bytes, start);
    return found;
  }

  #joined(chunk: Uint8Array): Uint8Array {
    if (this.#carried === 0) return chunk;
    const length = this.#carried + chunk.length;
    if (length > this.#carry.length) {
      const grown = new Uint8Array(Math.max(length, 2 * this.#carry.length));
      grown.set(this.#carry.subarray(0, this.#carried));
      this.#carry = grown;
    }
    this.#carry.set(chunk, this.#carried);
    return this.#carry.subarray(0, length);
  }

  #keep(bytes: Uint8Array, start: number): void {
    // Nothing complete was found: the block goes on growing in place.
    if (start > 0 || this.#carried === 0) this.#carry = bytes.slice(start);
    this.#carried = bytes.length - start;
    this.#searchedTo = Math.max(0, this.#searchedTo - start);
  }
}
