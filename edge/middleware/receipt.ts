import type { Context, MiddlewareHandler } from "hono";
import { tenantTagInput, tenantTagLength } from "#shared/residency/identifiers.ts";
import type { EdgeDeps } from "../ports.ts";
import type { EdgeEnvironment } from "../request-facts.ts";
import { noHops } from "../request-facts.ts";

function outcomeOf(c: Context<EdgeEnvironment>): string {
  if (c.var.errorCode !== undefined) return c.var.errorCode;
  const type = c.res.headers.get("content-type") ?? "";
  return type.startsWith("text/event-stream") ? "streaming" : "ok";
}

async function tenantTagOf(c: Context<EdgeEnvironment>, deps: EdgeDeps): Promise<string | null> {
  if (c.var.facts === undefined) return null;
  const { tenant, jurisdiction } = c.var.facts;
  return deps.identifiers.mac(tenantTagInput(tenant.id, jurisdiction.id), tenantTagLength);
}

/** Puts a signed receipt on every answer, refusals included, once the jurisdiction is known. */
export function receipt(deps: EdgeDeps): MiddlewareHandler<EdgeEnvironment> {
  return async (c, next) => {
    await next();
    const { jurisdiction, hops = noHops } = c.var;
    if (jurisdiction === undefined) return;
    const value = await deps.receipts.sign({
      requestId: c.var.requestId,
      jurisdiction: jurisdiction.id,
      hostname: new URL(c.req.url).hostname,
      colo: c.var.facts?.colo ?? null,
      tenantTag: await tenantTagOf(c, deps),
      api: c.var.route ?? null,
      outcome: outcomeOf(c),
      ...hops,
      nowMs: deps.now(),
    });
    c.res.headers.set("x-meridian-receipt", value);
  };
}
