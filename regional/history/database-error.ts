/** What to do about a failed statement. */
export interface DatabaseFailure {
  readonly kind:
    /** Serialization failure or deadlock: the transaction was undone and may be run again at once. */
    | "retryable"
    /** The connection, the server or its tables are gone: begin again with a new session, migrations included. */
    | "connection"
    /** This statement was refused; others may pass. */
    | "refused";
  /** SQLSTATE or the driver's code. Never the message: drizzle's holds the statement's parameters. */
  readonly reason: string;
}

const causesMax = 5;

/** SQLSTATE classes and codes of the PostgreSQL 15 manual, appendix A. */
const retryableCodes = new Set(["40001", "40P01"]);
const connectionCodes = new Set([
  "25006", // read-only: the old primary, or a replica that was not promoted
  "3F000", // no schema: the database was emptied or restored
  "42P01", // no table: likewise
  "53300", // too many connections
  "57P01", // shut down by an administrator
  "57P02", // crashed
  "57P03", // still starting
  "57P05", // idle session ended
]);

/** Classifies what a driver threw. What is not known counts as a broken connection, which is the safe reading. */
export function classifyDatabaseError(error: unknown): DatabaseFailure {
  const reason = findCode(error);
  if (reason === null) return { kind: "connection", reason: "unknown" };
  if (retryableCodes.has(reason)) return { kind: "retryable", reason };
  if (!isSqlState(reason) || reason.startsWith("08") || connectionCodes.has(reason)) {
    return { kind: "connection", reason };
  }
  return { kind: "refused", reason };
}

/** Whether a remote connection is gone, or about to be closed by the server, so that nothing may be sent on it. */
export function isDisconnected(error: unknown): boolean {
  const code = findCode(error);
  return code !== null && (!isSqlState(code) || code.startsWith("08") || code.startsWith("57P"));
}

function isSqlState(code: string): boolean {
  return /^[0-9A-Z]{5}$/.test(code);
}

/** The first `code` in the error and its causes. */
function findCode(error: unknown): string | null {
  let current = error;
  for (let depth = 0; depth < causesMax && typeof current === "object"; depth += 1) {
    if (current === null) return null;
    if ("code" in current && typeof current.code === "string") {
      return /^[0-9A-Za-z_]{1,64}$/.test(current.code) ? current.code : "unreadable";
    }
    current = "cause" in current ? current.cause : null;
  }
  return null;
}
