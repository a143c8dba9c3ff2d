import type { MiddlewareHandler } from "hono";
import type { EdgeDeps } from "../ports.ts";
import type { EdgeEnvironment } from "../request-facts.ts";
import { noHops } from "../request-facts.ts";

/** Puts a signed receipt on every answer, refusals included, once the jurisdiction is known. */
export function receipt(deps: EdgeDeps): MiddlewareHandler<EdgeEnvironment> {
  return async (c, next) => {
    await next();
    const { jurisdiction, hops = noHops } = c.var;
    if (jurisdiction === undefined) return;
    const value = await deps.receipts.sign({
      requestId: c.var.requestId,
      jurisdiction: jurisdiction.id,
      colo: c.var.facts?.colo ?? null,
      ...hops,
      nowMs: deps.now(),
    });
    c.res.headers.set("x-meridian-receipt", value);
  };
}
