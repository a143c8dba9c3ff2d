/** Mixes a text into 32 bits (FNV-1a with a final avalanche). */
export function hash32(text: string, seed = 0x811c9dc5): number {
  let hash = seed >>> 0;
  for (let index = 0; index < text.length; index += 1) {
    hash = Math.imul(hash ^ text.charCodeAt(index), 0x01000193);
  }
  hash ^= hash >>> 16;
  hash = Math.imul(hash, 0x85ebca6b);
  hash ^= hash >>> 13;
  return hash >>> 0;
}

/**
 * sfc32 (PractRand): small, fast, and the same on every machine. One generator per subsystem, so that drawing more in one
 * leaves the others as they were.
 */
export class Random {
  #a: number;
  #b: number;
  #c: number;
  #counter = 1;

  constructor(seed: number, stream: string) {
    this.#a = hash32(stream, seed ^ 0x9e3779b9);
    this.#b = hash32(stream, (seed >>> 3) ^ 0x243f6a88);
    this.#c = seed >>> 0;
    for (let round = 0; round < 12; round += 1) this.next();
  }

  /** 32 random bits. */
  next(): number {
    const sum = (((this.#a + this.#b) | 0) + this.#counter) | 0;
    this.#counter = (this.#counter + 1) | 0;
    this.#a = this.#b ^ (this.#b >>> 9);
    this.#b = (this.#c + (this.#c << 3)) | 0;
    this.#c = ((this.#c << 21) | (this.#c >>> 11)) + sum;
    this.#c |= 0;
    return sum >>> 0;
  }

  /** 0 ≤ x < 1. */
  unit(): number {
    return this.next() / 4_294_967_296;
  }

  /** Whole number, `from` ≤ x ≤ `to`. */
  between(from: number, to: number): number {
    return from + Math.floor(this.unit() * (to - from + 1));
  }

  /** True with probability `p`; draws even for 0 and 1, so that a rate's value moves nothing else. */
  chance(p: number): boolean {
    return this.unit() < p;
  }

  /** One of `values`; they must not be empty. */
  pick<Value>(values: readonly Value[]): Value {
    return values[this.between(0, values.length - 1)] as Value;
  }
}
