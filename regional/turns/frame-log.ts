import {
  formatClientFrame,
  formatOutcomeBlock,
  seamBlock,
  surplusBlock,
} from "#shared/protocol/internal/stream.ts";
import type { ClientFrame } from "#shared/protocol/internal/stream.ts";
import type { BufferBudget } from "./buffer-budget.ts";

/** A block of the stream to the edge. The outcome has the seq of the frame before it. */
interface Block {
  readonly seq: number;
  readonly isOutcome: boolean;
  readonly text: string;
  readonly byteCount: number;
}

/** A reader's place: the seq that it has, the seams that it was told of, and whether the outcome went out. */
export interface Cursor {
  readonly seq: number;
  readonly seams: number;
  readonly surplusTokens: number;
  readonly hasOutcome: boolean;
}

/** What a reader gets next. `isEnd`: nothing will follow. */
export interface FrameChunk {
  readonly bytes: Uint8Array;
  readonly cursor: Cursor;
  readonly isEnd: boolean;
}

/** Most bytes that one read gives: a slow reader then holds little. */
const chunkBytesMax = 64 * 1024;

/** The place of a reader that has the frames up to `seq`. */
export function cursorAt(seq: number): Cursor {
  return { seq, seams: 0, surplusTokens: 0, hasOutcome: false };
}

/** The frames of one turn, numbered on from `startSeq`, kept until acknowledged; bounded by `bytesMax` and by the cell's budget. */
export interface FrameLog {
  /** Appends frames; false when a bound forbids it, and then none of them is kept. */
  append(frames: readonly ClientFrame[]): boolean;
  /** Tells readers that another shard goes on from here: a comment, no frame. */
  markSeam(): void;
  /** Tells readers that have read all frames how many tokens these hold beyond one for each piece: a comment, no frame. */
  markSurplus(tokens: number): void;
  /** The last of the turn. Kept whatever the bounds say: without its end a stream would look broken. */
  end(outcomeJson: string, terminal: readonly ClientFrame[]): void;
  /** What follows `cursor`, or null when there is nothing yet. */
  read(cursor: Cursor): FrameChunk | null;
  /** The lowest `after` that can still be read from: frames up to it are gone. */
  firstReadableAfter(): number;
  lastSeq(): number;
  /** Drops frames up to `seq`; never the outcome nor what follows it. */
  acknowledge(seq: number): void;
  /** Bytes kept now. */
  heldBytes(): number;
  /** Resolves at the next change: blocks added, dropped, or the end. */
  changed(): Promise<void>;
  /** Drops everything; readers end. */
  clear(): void;
}

/** An empty log; frames up to `startSeq` were an earlier attempt's. */
export function createFrameLog(budget: BufferBudget, bytesMax: number, startSeq = 0): FrameLog {
  let blocks: Block[] = [];
  let heldBytes = 0;
  let lastSeq = startSeq;
  let acknowledgedSeq = startSeq;
  let seams = 0;
  let surplusTokens = 0;
  let isEnded = false;
  let outcomeIndex = -1;
  let wakers: (() => void)[] = [];

  function notify(): void {
    const woken = wakers;
    wakers = [];
    for (const wake of woken) wake();
  }

  function encode(frames: readonly ClientFrame[]): Block[] {
    return frames.map((frame, index) => {
      const seq = lastSeq + index + 1;
      return blockOf(seq, false, formatClientFrame(seq, frame));
    });
  }

  function keep(added: readonly Block[], bytes: number): void {
    for (const block of added) blocks.push(block);
    heldBytes += bytes;
    lastSeq = added.at(-1)?.seq ?? lastSeq;
    notify();
  }

  /** Index of the first block after `cursor`, by binary search; a reader without the outcome gets it whatever its seq. */
  function indexAfter(cursor: Cursor): number {
    let low = 0;
    let high = outcomeIndex === -1 || cursor.hasOutcome ? blocks.length : outcomeIndex;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((blocks[middle]?.seq ?? 0) <= cursor.seq) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  return {
    append(frames) {
      if (isEnded || frames.length === 0) return !isEnded;
      const added = encode(frames);
      const bytes = sumBytes(added);
      if (heldBytes + bytes > bytesMax || !budget.take(bytes)) return false;
      keep(added, bytes);
      return true;
    },
    markSeam() {
      seams += 1;
      notify();
    },
    markSurplus(tokens) {
      surplusTokens = tokens;
    },
    end(outcomeJson, terminal) {
      if (isEnded) return;
      const outcome = blockOf(lastSeq, true, formatOutcomeBlock(outcomeJson));
      const added = [outcome, ...encode(terminal)];
      const bytes = sumBytes(added);
      // A budget that is full still takes the ends of the turns that it holds; they are the last bytes of each.
      if (!budget.take(bytes)) budget.give(-bytes);
      isEnded = true;
      outcomeIndex = blocks.length;
      keep(added, bytes);
    },
    read(cursor) {
      const parts = Array.from({ length: seams - cursor.seams }, () => seamBlock);
      let bytes = 0;
      let next: Cursor = { ...cursor, seams };
      let index = indexAfter(cursor);
      for (; index < blocks.length && bytes < chunkBytesMax; index += 1) {
        const block = blocks[index];
        if (block === undefined) break;
        if (!block.isOutcome && block.seq <= next.seq) continue;
        parts.push(block.text);
        bytes += block.byteCount;
        next = block.isOutcome ? { ...next, hasOutcome: true } : { ...next, seq: block.seq };
      }
      const isEnd = isEnded && index >= blocks.length;
      if (index >= blocks.length && !isEnded && cursor.surplusTokens !== surplusTokens) {
        parts.push(surplusBlock(surplusTokens));
        next = { ...next, surplusTokens };
      }
      if (parts.length === 0 && !isEnd) return null;
      return { bytes: Buffer.from(parts.join(""), "utf8"), cursor: next, isEnd };
    },
    firstReadableAfter: () => acknowledgedSeq,
    lastSeq: () => lastSeq,
    acknowledge(seq) {
      const limit = outcomeIndex === -1 ? blocks.length : outcomeIndex;
      let count = 0;
      let bytes = 0;
      while (count < limit && (blocks[count]?.seq ?? Infinity) <= seq) {
        bytes += blocks[count]?.byteCount ?? 0;
        acknowledgedSeq = blocks[count]?.seq ?? acknowledgedSeq;
        count += 1;
      }
      if (count === 0) return;
      blocks = blocks.slice(count);
      if (outcomeIndex !== -1) outcomeIndex -= count;
      heldBytes -= bytes;
      budget.give(bytes);
      notify();
    },
    heldBytes: () => heldBytes,
    changed: () =>
      new Promise((resolve) => {
        wakers.push(resolve);
      }),
    clear() {
      budget.give(heldBytes);
      heldBytes = 0;
      blocks = [];
      outcomeIndex = -1;
      acknowledgedSeq = lastSeq;
      isEnded = true;
      notify();
    },
  };
}

function blockOf(seq: number, isOutcome: boolean, text: string): Block {
  return { seq, isOutcome, text, byteCount: Buffer.byteLength(text, "utf8") };
}

function sumBytes(blocks: readonly Block[]): number {
  return blocks.reduce((sum, { byteCount }) => sum + byteCount, 0);
}
