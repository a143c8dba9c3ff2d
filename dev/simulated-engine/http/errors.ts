/** Errors in vLLM's shape. */

/** Answered as `{"error": {...}}` with the status; thrown by routes only. */
export class EngineError extends Error {
  readonly status: number;
  readonly type: string;
  constructor(status: number, message: string) {
    super(message);
    this.name = "EngineError";
    this.status = status;
    this.type = typeOfStatus(status);
  }
}

function typeOfStatus(status: number): string {
  if (status === 404) return "NotFoundError";
  if (status === 429) return "RateLimitError";
  if (status === 503) return "ServiceUnavailableError";
  return status >= 500 ? "InternalServerError" : "BadRequestError";
}

/** Body of an error answer, also used inside streams. */
export function errorBody(status: number, message: string): object {
  return { error: { message, type: typeOfStatus(status), param: null, code: status } };
}
