import type { MiddlewareHandler } from "hono";
import { formatTraceparent } from "#shared/telemetry/traceparent.ts";
import type { EdgeDeps } from "../ports.ts";
import type { EdgeEnvironment } from "../request-facts.ts";

/**
 * Names the request and its trace, always anew: a client's own ids would let it write into our logs. Every answer, errors
 * included, carries the id, is not cached, and is logged as one line without content.
 */
export function requestId(deps: EdgeDeps): MiddlewareHandler<EdgeEnvironment> {
  return async (c, next) => {
    const startedAtMs = deps.now();
    const id = `req_${deps.randomHex(32)}`;
    const traceId = deps.randomHex(32);
    c.set("requestId", id);
    c.set("traceparent", formatTraceparent(traceId, deps.randomHex(16)));
    c.set("startedAtMs", startedAtMs);
    await next();
    c.res.headers.set("x-request-id", id);
    c.res.headers.set("cache-control", "no-store");
    const [jurisdiction, facts, errorCode] = [
      c.get("jurisdiction"),
      c.get("facts"),
      c.get("errorCode"),
    ];
    deps.log(c.res.status >= 500 ? "warn" : "info", "request", {
      requestId: id,
      traceId,
      method: c.req.method,
      route: c.get("route") ?? "none",
      status: c.res.status,
      durationMs: deps.now() - startedAtMs,
      ...(jurisdiction === undefined ? {} : { jurisdiction: jurisdiction.id }),
      ...(facts === undefined ? {} : { tenant: facts.tenant.id }),
      ...(errorCode === undefined ? {} : { code: errorCode }),
    });
  };
}
