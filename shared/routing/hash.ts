/** A 64-bit hash as two unsigned 32-bit halves: numbers of 64 bits do not fit, and BigInt is slow. */
export interface Hash64 {
  readonly high: number;
  readonly low: number;
}

const emptySeed: Hash64 = { high: 0, low: 0 };

function rotateLeft(value: number, bits: number): number {
  return (value << bits) | (value >>> (32 - bits));
}

function finalise(lane: number): number {
  let mixed = lane ^ (lane >>> 16);
  mixed = Math.imul(mixed, 0x85ebca6b);
  mixed ^= mixed >>> 13;
  mixed = Math.imul(mixed, 0xc2b2ae35);
  return mixed ^ (mixed >>> 16);
}

/**
 * Hashes the UTF-16 code units of `text` in two lanes that feed each other: rounds and finaliser of MurmurHash3_x86_128
 * (Appleby, public domain), cut to two lanes. `seed` may be another hash: then it goes on from there. Not cryptographic.
 * The values are the same on every runtime; changing them moves every conversation without a home.
 */
export function hash64(text: string, seed: Hash64 = emptySeed): Hash64 {
  let high = seed.high;
  let low = seed.low;
  for (let index = 0; index < text.length; index += 1) {
    const unit = text.charCodeAt(index);
    high ^= Math.imul(rotateLeft(Math.imul(unit, 0x239b961b), 15), 0xab0e9789);
    high = (Math.imul(rotateLeft(high, 19) + low, 5) + 0x561ccd1b) | 0;
    low ^= Math.imul(rotateLeft(Math.imul(unit, 0x38b34ae5), 17), 0xa1e38b93);
    low = (Math.imul(rotateLeft(low, 13) + high, 5) + 0x32ac3b17) | 0;
  }
  high ^= text.length;
  low ^= text.length;
  high = (high + low) | 0;
  low = (low + high) | 0;
  high = finalise(high);
  low = finalise(low);
  high = (high + low) | 0;
  low = (low + high) | 0;
  return { high: high >>> 0, low: low >>> 0 };
}

/** The hash as a number inside (0, 1), 52 bits wide; never 0 or 1, so that its logarithm is finite and not 0. */
export function unitOf(hash: Hash64): number {
  return (hash.high * 2 ** 20 + (hash.low >>> 12) + 0.5) / 2 ** 52;
}
