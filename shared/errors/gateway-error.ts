import { errorCodes } from "./codes.ts";
import type { ErrorCode } from "./codes.ts";

/** What a refusal carries besides its code. */
export interface GatewayErrorDetails {
  /** The request parameter at fault, in OpenAI's dotted form (`messages[0].content`). */
  readonly param?: string;
  /** When trying again may help, in ms from now, 0–60,000; openai-node ignores longer waits. */
  readonly retryAfterMs?: number;
  /** Overrides the code's default, for a shortage that is known to last. */
  readonly shouldRetry?: boolean;
  readonly cause?: unknown;
}

/**
 * An expected refusal on its way to a client: thrown by routes only and rendered once. `publicMessage` says what
 * happened and what to do; it never holds prompt text, keys, upstream bodies or host names.
 */
export class GatewayError extends Error {
  override readonly name = "GatewayError";
  readonly code: ErrorCode;
  readonly publicMessage: string;
  readonly details: GatewayErrorDetails;

  constructor(code: ErrorCode, publicMessage: string, details: GatewayErrorDetails = {}) {
    super(publicMessage, details.cause === undefined ? undefined : { cause: details.cause });
    this.code = code;
    this.publicMessage = publicMessage;
    this.details = details;
  }
}

/** OpenAI's error object, as it stands in a response body and in a stream's error event. */
export interface ErrorBody {
  readonly error: {
    readonly message: string;
    readonly type: string;
    readonly param: string | null;
    readonly code: ErrorCode;
  };
}

/** An error as data: what crosses RPC and process borders instead of a thrown class. */
export interface ErrorOutcome {
  readonly code: ErrorCode;
  readonly message: string;
  readonly param?: string;
  readonly retryAfterMs?: number;
}

/** The body of an error answer. */
export function errorBody(error: ErrorOutcome): ErrorBody {
  const { type } = errorCodes[error.code];
  return {
    error: { message: error.message, type, param: error.param ?? null, code: error.code },
  };
}

/** The longest wait that is ever promised, in ms: openai-node ignores `retry-after` values over 60 s (src/client.ts). */
export const retryAfterMsMax = 60_000;

/** Status and headers of an error answer, `x-should-retry` always among them; Retry-After in whole seconds, rounded up. */
export function errorResponseParts(error: ErrorOutcome & { readonly shouldRetry?: boolean }): {
  status: number;
  headers: Record<string, string>;
  body: ErrorBody;
} {
  const { status, shouldRetry } = errorCodes[error.code];
  const headers: Record<string, string> = {
    "content-type": "application/json",
    "x-should-retry": String(error.shouldRetry ?? shouldRetry),
  };
  if (error.retryAfterMs !== undefined) {
    const waitMs = Math.min(retryAfterMsMax, Math.max(0, Math.ceil(error.retryAfterMs)));
    headers["retry-after-ms"] = String(waitMs);
    headers["retry-after"] = String(Math.ceil(waitMs / 1000));
  }
  return { status, headers, body: errorBody(error) };
}
