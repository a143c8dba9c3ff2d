/** Bytes that all frame buffers of a cell may hold together. */
export interface BufferBudget {
  /** Takes `bytes`, or refuses when they do not fit. */
  take(bytes: number): boolean;
  give(bytes: number): void;
  usedBytes(): number;
  /** Whether a new turn may begin: some room is kept for those that run. */
  hasRoom(): boolean;
}

/** @param bytesMax the bound; new turns are refused from 15/16 of it on. */
export function createBufferBudget(bytesMax: number): BufferBudget {
  let used = 0;
  return {
    take(bytes) {
      if (used + bytes > bytesMax) return false;
      used += bytes;
      return true;
    },
    give(bytes) {
      used -= bytes;
    },
    usedBytes: () => used,
    hasRoom: () => used < bytesMax - bytesMax / 16,
  };
}
