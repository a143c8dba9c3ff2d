/** Maxima and times of one turn on a cell. Tests and the simulation pass their own. */
export interface TurnPolicy {
  /** Shards that one turn may be dispatched to before its first token, and at each seam of its answer, each at most once. */
  readonly triesMax: number;
  /** Seams that an answer may have: times that a shard went on with what another one had begun. */
  readonly continuationsMax: number;
  /** How long a retry waits, ms: drawn between the two, so that those of one failure do not come back together. */
  readonly retryMsMin: number;
  readonly retryMsMax: number;
  /** How long a shard may take from dispatch to its first token, ms. */
  readonly firstTokenTimeoutMs: number;
  /** A begun answer has stalled after `max(stallMinMs, stallFactor * mean time between its tokens)` without a token, ms. */
  readonly stallMinMs: number;
  readonly stallFactor: number;
  /** How long a begun answer waits at one seam for a shard that can go on with it, ms; 0: not at all. */
  readonly waitMsMax: number;
  /** How much text one turn may generate over all choices, in UTF-16 units; beyond it the shard is taken as broken. */
  readonly answerCharactersMax: number;
  /** Retry-After when no shard of the model can be used, ms. */
  readonly noCapacityRetryAfterMs: number;
  /** Retry-After when every shard is full and names no wait of its own, ms. */
  readonly saturatedRetryAfterMs: number;
}

/**
 * Defaults: three tries, two continuations and the 45 s ceiling of the first-token timeout from the routing page, 8; the stall rule
 * `max(5 s, 20 x inter-token time)` from 7. 30 s (our choice) is an engine that starts again with its weights on a local disk, and
 * three times what an opened breaker first keeps a shard away with its probes; few readers wait longer. 16 Mi characters are over ten times the longest context's text.
 */
export const defaultTurnPolicy: TurnPolicy = {
  triesMax: 3,
  continuationsMax: 2,
  retryMsMin: 25,
  retryMsMax: 150,
  firstTokenTimeoutMs: 45_000,
  stallMinMs: 5_000,
  stallFactor: 20,
  waitMsMax: 30_000,
  answerCharactersMax: 16 * 1024 * 1024,
  noCapacityRetryAfterMs: 5_000,
  saturatedRetryAfterMs: 1_000,
};
