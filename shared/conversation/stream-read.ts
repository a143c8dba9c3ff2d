import type { TurnView } from "./rpc.ts";

/**
 * What one reader of a running turn has: frames that the journal is known to have, and after them some that came live, before
 * any journal had them. A cell that is lost may take such frames with it; whoever showed them must find out.
 */
export interface StreamRead {
  /** Seq of the last frame that the reader was given. */
  readonly seq: number;
  /** Seq up to which the journal is known to have what the reader was given: where to read the journal on. */
  readonly verifiedSeq: number;
  /** The frames between the two. */
  readonly unverified: string;
  /** The attempt whose cell gave them. */
  readonly attempt: number;
}

/** What the journal means for a reader. */
export type JournalStep =
  /** `rest` comes next. */
  | { readonly kind: "follows"; readonly rest: string; readonly read: StreamRead }
  /** The reader was given something that is not part of the turn: it must be told, and read again from the start. */
  | { readonly kind: "diverged" };

/** A reader that says it has everything up to `afterSeq`. */
export function beginRead(afterSeq: number, attempt: number): StreamRead {
  return { seq: afterSeq, verifiedSeq: afterSeq, unverified: "", attempt };
}

/** Whether a reader at `seq` has frames of a time before the turn was begun again from its journal. */
export function isPastRestart(
  { restartedAfterSeq }: Pick<TurnView, "restartedAfterSeq">,
  seq: number,
): boolean {
  return restartedAfterSeq !== null && seq > restartedAfterSeq;
}

/** The cell's frames up to `toSeq` were given to the reader. */
export function readLive(read: StreamRead, text: string, toSeq: number): StreamRead {
  return { ...read, seq: toSeq, unverified: read.unverified + text };
}

/** The journal after `verifiedSeq` says `text`, up to `toSeq`: what of it the reader has not got yet. */
export function readJournaled(
  read: StreamRead,
  turn: Pick<TurnView, "attempt" | "restartedAfterSeq">,
  text: string,
  toSeq: number,
): JournalStep {
  // The turn began again while it was read: what was shown of the lost attempt is in no journal.
  if (turn.attempt !== read.attempt && isPastRestart(turn, read.seq)) return { kind: "diverged" };
  const verifiedSeq = Math.max(read.verifiedSeq, toSeq);
  if (text.startsWith(read.unverified)) {
    const rest = text.slice(read.unverified.length);
    const seq = rest === "" ? read.seq : toSeq;
    return { kind: "follows", rest, read: { ...read, seq, verifiedSeq, unverified: "" } };
  }
  if (!read.unverified.startsWith(text)) return { kind: "diverged" };
  const unverified = read.unverified.slice(text.length);
  return { kind: "follows", rest: "", read: { ...read, verifiedSeq, unverified } };
}

/**
 * The reader as it may go on with `attempt`'s cell; null while the journal has not confirmed what another attempt's cell had
 * given it: frames of one may not follow those of the other.
 */
export function attachTo(read: StreamRead, attempt: number): StreamRead | null {
  if (read.unverified === "") return { ...read, attempt };
  return read.attempt === attempt ? read : null;
}
