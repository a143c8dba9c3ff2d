/**
 * A 32-bit hash of a text: FNV-1a's walk (Fowler, Noll, Vo) with MurmurHash3's finaliser (Appleby, public domain), which
 * spreads the last characters over all bits. Not cryptographic; keys are HMACs already where that matters.
 */
export function hash32(text: string, seed: number): number {
  let hash = (0x811c9dc5 ^ seed) >>> 0;
  for (let index = 0; index < text.length; index += 1) {
    hash = Math.imul(hash ^ text.charCodeAt(index), 0x01000193);
  }
  hash ^= hash >>> 16;
  hash = Math.imul(hash, 0x85ebca6b);
  hash ^= hash >>> 13;
  hash = Math.imul(hash, 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}

/** A number in (0, 1) from two 32-bit lanes, 53 bits wide; never 0 or 1, so that its logarithm is finite. */
export function unitHash(text: string): number {
  const high = hash32(text, 0) >>> 5;
  const low = hash32(text, 0x9e3779b9) >>> 6;
  return (high * 67_108_864 + low + 0.5) / 9_007_199_254_740_992;
}
