/**
 * What a command answers. Bulk strings are byte strings: one code unit (0 to 255) per byte, so that binary values survive
 * a `Map`, a snapshot and the RESP wire unchanged; only the REST protocol decodes or encodes UTF-8.
 */
export type Reply = string | number | null | StatusReply | ErrorReply | Reply[];

/** A simple string such as `OK` or `PONG`. */
export interface StatusReply {
  readonly status: string;
}

/** A refusal with Redis' own text, for example `WRONGTYPE Operation against …`. */
export interface ErrorReply {
  readonly error: string;
}

export const OK: StatusReply = { status: "OK" };

/** Whether a reply is a refusal. */
export function isErrorReply(reply: Reply): reply is ErrorReply {
  return typeof reply === "object" && reply !== null && "error" in reply;
}

/** The bytes of a text in UTF-8, as a byte string. */
export function bytesOfText(text: string): string {
  return Buffer.from(text, "utf8").toString("latin1");
}

/** The text of a byte string; bytes that are not UTF-8 become U+FFFD. */
export function textOfBytes(bytes: string): string {
  return Buffer.from(bytes, "latin1").toString("utf8");
}
