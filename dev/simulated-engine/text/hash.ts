/** Mixes two 32-bit numbers into one, well distributed: the finaliser of MurmurHash3 (A. Appleby, public domain). */
export function mix32(a: number, b: number): number {
  let mixed = Math.imul(a ^ Math.imul(b, 0x9e3779b1), 0x85ebca6b);
  mixed ^= mixed >>> 13;
  mixed = Math.imul(mixed, 0xc2b2ae35);
  mixed ^= mixed >>> 16;
  mixed = Math.imul(mixed + b, 0x27d4eb2f);
  return (mixed ^ (mixed >>> 15)) >>> 0;
}

/** Continues a chained hash of 53 bits over numbers; the same numbers in the same order give the same hash. Never 0. */
export function chainHash(
  parent: number,
  values: ArrayLike<number>,
  from = 0,
  to = values.length,
): number {
  let low = parent >>> 0;
  let high = Math.floor(parent / 4_294_967_296) >>> 0;
  for (let at = from; at < to; at += 1) {
    const value = values[at] ?? 0;
    low = mix32(low, value);
    high = mix32(high ^ 0x5bd1e995, value + at - from);
  }
  return (high & 0x1fffff) * 4_294_967_296 + low + 1;
}

/** Hash of a string, over its UTF-8 bytes. */
export function hashText(text: string, parent = 1): number {
  return chainHash(parent, Buffer.from(text, "utf8"));
}

/** The 32 bits that belong to one position of a hash. */
export function bitsAt(hash: number, position: number): number {
  return mix32(mix32(hash >>> 0, Math.floor(hash / 4_294_967_296)), position);
}
