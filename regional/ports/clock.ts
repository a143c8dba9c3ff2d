/** Time as the cell sees it. Stops are idempotent; timers never keep the process alive. */
export interface Clock {
  /** Ms since the epoch. */
  nowMs(): number;
  /** Calls `run` once after `delayMs`; returns its stop. */
  after(delayMs: number, run: () => void): () => void;
  /** Calls `run` every `periodMs`; returns its stop. */
  every(periodMs: number, run: () => void): () => void;
}
