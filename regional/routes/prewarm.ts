import { Hono } from "hono";
import { parsePrewarmRequest } from "#shared/protocol/internal/prewarm.ts";
import { continueTrace } from "#shared/telemetry/traceparent.ts";
import type { CellDeps } from "./cell-deps.ts";
import { respondError, respondJson } from "./respond.ts";
import { openSignedCall, readJson } from "./signed-call.ts";

/** `POST /internal/prewarm`: computes the prefix of a conversation that moves to a shard of this cell. */
export function prewarmRoutes(deps: CellDeps): Hono {
  const app = new Hono();
  app.post("/internal/prewarm", async (context) => {
    const call = await openSignedCall(context, deps);
    if (!call.ok) return call.response;
    const request = parsePrewarmRequest(readJson(call.body));
    if (request === null) {
      return respondError({ code: "invalid_request", message: "The internal call is misshapen." });
    }
    if (request.jurisdiction !== deps.cell.jurisdiction) {
      return respondError({
        code: "wrong_jurisdiction",
        message: "This cell does not serve that jurisdiction.",
      });
    }
    const trace = continueTrace(
      context.req.header("traceparent") ?? "",
      deps.random.hex(16),
      deps.random.hex(8),
    );
    const reply = deps.readiness().reasons.includes("draining")
      ? ({ kind: "unavailable", reason: "draining" } as const)
      : await deps.prewarmer.warm(request, trace);
    deps.log("info", "prewarmed", {
      requestId: request.requestId,
      tenant: request.tenant,
      reason: reply.kind,
      ...(reply.kind === "warmed"
        ? {
            shard: reply.shard,
            promptTokens: reply.promptTokens,
            cachedTokens: reply.cachedTokens,
          }
        : {}),
    });
    return respondJson(reply);
  });
  return app;
}
