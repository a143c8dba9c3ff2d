/**
 * What a foreign failure of the platform means for the caller. Only `connectionLost`, `superseded`, `storageReset` and
 * `retryable` may be tried again, with a fresh stub and only where the call is idempotent; `overloaded` never
 * (Cloudflare, Durable Objects, error handling).
 */
export type PlatformFailure =
  /** The object's instance was replaced: a code update, or another instance holds the name. */
  | "superseded"
  /** The connection to the object or the upstream broke; whether the call ran is unknown. */
  | "connectionLost"
  /** The storage failed or timed out and the object was reset; nothing unconfirmed is durable. */
  | "storageReset"
  /** The isolate was over its memory or CPU limit; the same call will most likely end the same way. */
  | "memoryLimit"
  /** More requests than one object takes; trying again makes it worse. */
  | "overloaded"
  /** The platform itself says that a repeat may succeed. */
  | "retryable"
  | "unknown";

/** How deep a chain of `cause` is followed: a cyclic one must end. */
const causeDepthMax = 8;

/**
 * Fragments of the runtime's messages, most specific first. Verbatim messages are fixtures of the unit test; sources:
 * workerd (src/workerd/io, src/workerd/api) and Cloudflare's page on troubleshooting of Durable Objects.
 */
const fragments: readonly (readonly [string, PlatformFailure])[] = [
  ["Durable Object is overloaded", "overloaded"],
  ["exceeded its memory limit", "memoryLimit"],
  ["exceeded its CPU time limit", "memoryLimit"],
  ["reset because its code was updated", "superseded"],
  ["code has been updated, this version can no longer access storage", "superseded"],
  ["this Durable Object instance is no longer active", "superseded"],
  ["caused object to be reset", "storageReset"],
  ["Internal error in Durable Object storage", "storageReset"],
  ["Network connection lost", "connectionLost"],
  ["The client disconnected", "connectionLost"],
  ["WebSocket peer disconnected", "connectionLost"],
  ["due to transient issue on remote node", "retryable"],
];

function failureOf(error: object): PlatformFailure | null {
  const { message, overloaded, retryable } = error as {
    message?: unknown;
    overloaded?: unknown;
    retryable?: unknown;
  };
  if (overloaded === true) return "overloaded";
  if (typeof message === "string") {
    for (const [fragment, failure] of fragments) if (message.includes(fragment)) return failure;
  }
  return retryable === true ? "retryable" : null;
}

/** Classifies what an object call or an upstream fetch threw; the outermost known failure of the `cause` chain wins. */
export function classifyPlatformFailure(thrown: unknown): PlatformFailure {
  let error = thrown;
  for (let depth = 0; depth < causeDepthMax; depth += 1) {
    if (typeof error !== "object" || error === null) return "unknown";
    const failure = failureOf(error);
    if (failure !== null) return failure;
    error = (error as { cause?: unknown }).cause;
  }
  return "unknown";
}

/** Whether an idempotent call may be made again, with a fresh stub. */
export function isRepeatable(failure: PlatformFailure): boolean {
  return (
    failure === "connectionLost" ||
    failure === "superseded" ||
    failure === "storageReset" ||
    failure === "retryable"
  );
}
