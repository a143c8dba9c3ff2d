import type { Context } from "hono";
import { GatewayError, errorResponseParts } from "#shared/errors/gateway-error.ts";
import type { ErrorOutcome } from "#shared/errors/gateway-error.ts";
import { ObjectUnavailableError } from "../ports.ts";
import type { EdgeDeps } from "../ports.ts";
import type { EdgeEnvironment } from "../request-facts.ts";

/** Wait that is advised after an object could not be reached, ms: its own restart takes less. */
const objectRetryAfterMs = 1_000;

type Rendered = ErrorOutcome & { readonly shouldRetry?: boolean };

function outcomeOf(error: Error): Rendered | null {
  if (error instanceof GatewayError) {
    const { param, retryAfterMs, shouldRetry } = error.details;
    return {
      code: error.code,
      message: error.publicMessage,
      ...(param === undefined ? {} : { param }),
      ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
      ...(shouldRetry === undefined ? {} : { shouldRetry }),
    };
  }
  if (error instanceof ObjectUnavailableError) {
    return {
      code: error.failure === "overloaded" ? "saturated" : "starting",
      message: "The state of this request could not be reached. Send it again.",
      retryAfterMs: objectRetryAfterMs,
    };
  }
  return null;
}

/** Renders every refusal and every bug, once and in OpenAI's shape. A bug says its request id and nothing else. */
export function renderError(deps: EdgeDeps) {
  return (error: Error, c: Context<EdgeEnvironment>): Response => {
    const known = outcomeOf(error);
    if (known === null) {
      deps.log("error", "bug", { requestId: c.var.requestId, reason: error.name });
    }
    const outcome: Rendered = known ?? {
      code: "internal_error",
      message: `Something went wrong here. Quote the request id ${c.var.requestId}.`,
    };
    c.set("errorCode", outcome.code);
    const { status, headers, body } = errorResponseParts(outcome);
    if (outcome.code === "invalid_api_key") headers["www-authenticate"] = "Bearer";
    if (c.var.allow !== undefined) headers["allow"] = c.var.allow;
    return new Response(JSON.stringify(body), { status, headers });
  };
}
