/** A bug, not an outcome: caught only where an answer is rendered and at object methods, and answered `internal_error`. */
export class InvariantError extends Error {
  override readonly name = "InvariantError";
}

/** @throws InvariantError when `condition` does not hold; `message` names what was assumed and never holds content. */
export function invariant(condition: unknown, message: string): asserts condition {
  if (!condition) throw new InvariantError(message);
}
