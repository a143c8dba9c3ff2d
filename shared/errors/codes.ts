/**
 * Every error that Meridian answers with, in one table. The HTTP status, OpenAI's `type`, whether a client should
 * try again and whether a shard is to blame follow from the code alone; docs/error-codes.md is checked against it.
 */
export interface ErrorSpecification {
  /** HTTP status; 200 for errors that can only come as an event inside a stream. */
  readonly status: number;
  /** `error.type` of OpenAI's error object. */
  readonly type:
    | "invalid_request_error"
    | "authentication_error"
    | "permission_error"
    | "rate_limit_error"
    | "insufficient_quota"
    | "api_error";
  /** Value of `x-should-retry`. openai-node repeats 408, 409, 429 and 5xx unless this header says otherwise. */
  readonly shouldRetry: boolean;
  /** Whether an occurrence counts against the shard that caused it. */
  readonly countsAgainstShard: boolean;
}

function specification(
  status: number,
  type: ErrorSpecification["type"],
  shouldRetry: boolean,
  countsAgainstShard = false,
): ErrorSpecification {
  return { status, type, shouldRetry, countsAgainstShard };
}

/** The only list of codes; conventions: a code is never renamed, only added. */
export const errorCodes = {
  invalid_request: specification(400, "invalid_request_error", false),
  context_length_exceeded: specification(400, "invalid_request_error", false),
  invalid_api_key: specification(401, "authentication_error", false),
  jurisdiction_not_permitted: specification(403, "permission_error", false),
  not_found: specification(404, "invalid_request_error", false),
  model_not_found: specification(404, "invalid_request_error", false),
  method_not_allowed: specification(405, "invalid_request_error", false),
  conversation_locked: specification(409, "invalid_request_error", false),
  body_too_large: specification(413, "invalid_request_error", false),
  unsupported_media_type: specification(415, "invalid_request_error", false),
  wrong_jurisdiction: specification(421, "permission_error", false),
  idempotency_key_reused: specification(422, "invalid_request_error", false),
  prompt_quarantined: specification(422, "invalid_request_error", false),
  headers_too_large: specification(431, "invalid_request_error", false),
  rate_limited: specification(429, "rate_limit_error", true),
  insufficient_quota: specification(429, "insufficient_quota", false),
  saturated: specification(429, "rate_limit_error", true),
  client_closed: specification(499, "api_error", false),
  internal_error: specification(500, "api_error", false),
  upstream_invalid: specification(502, "api_error", false, true),
  no_capacity_in_jurisdiction: specification(503, "api_error", true),
  starting: specification(503, "api_error", true),
  draining: specification(503, "api_error", true),
  deadline_exceeded: specification(504, "api_error", false),
  interrupted: specification(200, "api_error", false, true),
  cancelled: specification(200, "api_error", false),
  resume_diverged: specification(200, "api_error", false),
} as const satisfies Record<string, ErrorSpecification>;

/** A stable error code. */
export type ErrorCode = keyof typeof errorCodes;

/** Whether `value` is one of the codes above. */
export function isErrorCode(value: unknown): value is ErrorCode {
  return typeof value === "string" && Object.hasOwn(errorCodes, value);
}
