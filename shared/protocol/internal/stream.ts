/**
 * The stream from a cell to the edge. It is SSE, cut into blocks by an empty line:
 *
 * - a **client frame** begins with `id: <seq>` (gapless from 1 over all attempts of a turn) and goes to the client as it is;
 * - the **outcome** begins with `event: meridian.outcome`; its one `data:` line is a TurnOutcome; it never reaches a client;
 * - a **seam** is the comment {@link seamBlock}, a **surplus** the comment {@link surplusBlock};
 * - any other **comment** begins with `:` and keeps the connection alive; it may be passed on.
 *
 * What stands after the outcome are the terminal client frames (`data: [DONE]`, `response.completed`): the edge holds
 * them until the turn is durably complete. A stream that ends without an outcome has failed, always. A durable turn that
 * is not streamed has no client frames: its answer is `outcome.body`.
 */
export const outcomeEventName = "meridian.outcome";

/** First bytes of an outcome block. */
export const outcomeBlockStart = `event: ${outcomeEventName}\n`;

/** Header of a stateless, not streamed answer: the outcome's JSON in ASCII; the body is the client's as it stands. */
export const outcomeHeader = "x-meridian-outcome";

/** Set to `cell` on a 429 when the whole cell is full, so that the edge may try another cell of the jurisdiction. */
export const overloadHeader = "x-overload";

/** The cell's degradation level, 0 to 4, on each answer about a turn; the edge passes it on. */
export const levelHeader = "x-meridian-level";

/**
 * On an answer that waits for a shard to start: how long that is expected to take from then on, ms; the edge passes it on. Absent
 * where nothing is waited for.
 */
export const expectedWaitHeader = "x-meridian-expected-wait-ms";

/** Shares of the classes, in hundredths, that a cell wants not to be sent (shared/overload/throttle.ts); absent for none. */
export const throttleHeader = "x-meridian-throttle";

/** One event for the client: `event` (null for chat completions) and the text after `data:`, without line breaks. */
export interface ClientFrame {
  readonly event: string | null;
  readonly data: string;
}

/** The bytes of a client frame, as text. `data` comes from `JSON.stringify` or is `[DONE]`: it holds no line break. */
export function formatClientFrame(seq: number, frame: ClientFrame): string {
  const event = frame.event === null ? "" : `event: ${frame.event}\n`;
  return `id: ${seq}\n${event}data: ${frame.data}\n\n`;
}

/** The bytes of the outcome block, as text. */
export function formatOutcomeBlock(outcomeJson: string): string {
  return `${outcomeBlockStart}data: ${outcomeJson}\n\n`;
}

/** A comment that marks where another shard went on with the answer; the edge counts them and passes none on. */
export const seamBlock = ": continued\n\n";

const surplusStart = ": surplus ";

/**
 * A comment that tells the edge how many tokens the frames so far hold beyond one for each piece of the answer: an engine that
 * is behind sends several at once. Whoever goes on with the answer counts on from there.
 */
export function surplusBlock(tokens: number): string {
  return `${surplusStart}${tokens}\n\n`;
}

/** The number of a {@link surplusBlock}; null for any other block. */
export function readSurplus(block: string): number | null {
  const digits = block.startsWith(surplusStart) ? block.slice(surplusStart.length).trimEnd() : "";
  return /^\d{1,9}$/.test(digits) ? Number(digits) : null;
}

/** A comment that keeps idle connections open. */
export const heartbeatBlock = ": keep-alive\n\n";
