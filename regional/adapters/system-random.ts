import { randomFillSync } from "node:crypto";
import type { RandomSource } from "../ports/random.ts";

/** Random bytes that are drawn at once: a draw costs as much as a thousand bytes of it. */
const poolBytes = 4_096;
const pool = Buffer.alloc(poolBytes);
let usedBytes = poolBytes;

/** Bytes that nobody else gets: each is given out once. */
function hex(bytes: number): string {
  if (bytes > poolBytes) throw new RangeError(`at most ${poolBytes} bytes, got ${bytes}`);
  if (usedBytes + bytes > poolBytes) {
    randomFillSync(pool);
    usedBytes = 0;
  }
  const text = pool.toString("hex", usedBytes, usedBytes + bytes);
  usedBytes += bytes;
  return text;
}

/** The machine's chance. */
export const systemRandom: RandomSource = { unit: () => Math.random(), hex };
