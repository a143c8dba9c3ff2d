import { errors } from "@upstash/redis/cloudflare";

/**
 * Why the health KV gave no answer: it took too long, refused the token, refused the command or answered an error
 * status, answered what is not its protocol, or could not be reached.
 */
export type HealthKvFailure = "timeout" | "unauthorised" | "refused" | "garbage" | "unreachable";

/** How Redis and Upstash begin their answers to a wrong token or one without the right (Redis documentation, ACL). */
const unauthorised =
  /^(?:Unable to parse response body: )?(?:WRONGPASS|NOAUTH|NOPERM|Unauthorized)/i;

/** The client takes JSON of any shape for an answer; it or V8 words the TypeError that follows. A lost connection is one too. */
const wrongShape = /^(?:Cannot (?:read|destructure) propert|Request did not return a result)/;

/**
 * The kind of a failure of the Upstash client, which tells no status: its errors quote commands and answers (@upstash/redis
 * 1.39.0), so that nothing but this word may go on.
 */
export function classifyHealthKvFailure(error: unknown): HealthKvFailure {
  if (!(error instanceof Error)) return "unreachable";
  // A DOMException of AbortSignal.timeout.
  if (error.name === "TimeoutError" || error.name === "AbortError") return "timeout";
  if (error instanceof TypeError && wrongShape.test(error.message)) return "garbage";
  if (!(error instanceof errors.UpstashError)) return "unreachable";
  if (unauthorised.test(error.message)) return "unauthorised";
  return error instanceof errors.UpstashJSONParseError ? "garbage" : "refused";
}
