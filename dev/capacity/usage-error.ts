/** What was asked for cannot be done: the message says what was got and what was wanted. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}
