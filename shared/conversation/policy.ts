/** Later than any clock: the last time that a Date holds (ECMAScript, time values). */
export const neverMs = 8_640_000_000_000_000;

/** Maxima and times of a conversation. Defaults with their reasons; tests and simulation pass their own. */
export interface ConversationPolicy {
  /** Items of one conversation; past it the conversation is full and says so. */
  readonly itemsMax: number;
  /** UTF-8 bytes of one item: a Durable Object's row holds 2 MB (Cloudflare, SQLite storage limits, 2026). */
  readonly itemBytesMax: number;
  /** How long an idempotency key is kept, ms; 24 h at least (IETF draft-ietf-httpapi-idempotency-key-header-07 leaves it to us). */
  readonly idempotencyKeptMs: number;
  /** How long a finished turn's journal is kept for readers that come back, ms. */
  readonly journalKeptMs: number;
  /** A running turn that nobody reported for this long is looked after by the object, ms. */
  readonly watchdogMs: number;
  /** Pulls that may fail in a row before the turn is begun anew elsewhere. */
  readonly pullFailuresMax: number;
  /** Pause after a pull that failed, ms. */
  readonly pullRetryMs: number;
  /** Pause between two pulls of a turn that the object reads itself, ms: each writes one row of the journal at most. */
  readonly pullPauseMs: number;
  /** Times that the object begins a turn anew whose cell lost it: a prompt that kills cells must not meet all of them. */
  readonly restartsMax: number;
  /** Tries in a row to put a turn to a cell; a background turn is tried until its deadline. */
  readonly dispatchFailuresMax: number;
  /** Pause before the nth try, once every cell was tried, ms: `min(max, base * 2^n)`. */
  readonly dispatchRetryBaseMs: number;
  readonly dispatchRetryMaxMs: number;
  /** Times that a begun answer may be continued on another shard or cell. */
  readonly continuationsMax: number;
  /** What a refused second turn is told to wait, ms. */
  readonly lockedRetryAfterMs: number;
  /** Items per delivery to the database. */
  readonly deliveryItemsMax: number;
  /** Delay before the nth repeat of a failed delivery, ms: `min(max, base * 2^n)`. */
  readonly deliveryRetryBaseMs: number;
  readonly deliveryRetryMaxMs: number;
  /** Turns that ended within this time may still have frames in a cell's buffer; an erasure drops them, ms. */
  readonly cellBufferKeptMs: number;
}

export const defaultConversationPolicy: ConversationPolicy = {
  itemsMax: 20_000,
  itemBytesMax: 1_900_000,
  idempotencyKeptMs: 24 * 3_600_000,
  journalKeptMs: 24 * 3_600_000,
  watchdogMs: 10_000,
  pullFailuresMax: 2,
  pullRetryMs: 500,
  pullPauseMs: 1_000,
  restartsMax: 3,
  dispatchFailuresMax: 3,
  dispatchRetryBaseMs: 500,
  dispatchRetryMaxMs: 30_000,
  continuationsMax: 2,
  lockedRetryAfterMs: 1_000,
  deliveryItemsMax: 500,
  deliveryRetryBaseMs: 250,
  deliveryRetryMaxMs: 30_000,
  cellBufferKeptMs: 600_000,
};
