import type { Context, MiddlewareHandler } from "hono";
import { tenantTagInput, tenantTagLength } from "#shared/residency/identifiers.ts";
import type { EdgeDeps } from "../ports.ts";
import type { EdgeEnvironment } from "../request-facts.ts";
import { noHops } from "../request-facts.ts";

function outcomeOf(c: Context<EdgeEnvironment>): string {
  const errorCode = c.get("errorCode");
  if (errorCode !== undefined) return errorCode;
  const type = c.res.headers.get("content-type") ?? "";
  return type.startsWith("text/event-stream") ? "streaming" : "ok";
}

async function tenantTagOf(c: Context<EdgeEnvironment>, deps: EdgeDeps): Promise<string | null> {
  const facts = c.get("facts");
  if (facts === undefined) return null;
  const { tenant, jurisdiction } = facts;
  return deps.identifiers.mac(tenantTagInput(tenant.id, jurisdiction.id), tenantTagLength);
}

/** Puts a signed receipt on every answer, refusals included, once the jurisdiction is known. */
export function receipt(deps: EdgeDeps): MiddlewareHandler<EdgeEnvironment> {
  return async (c, next) => {
    await next();
    const jurisdiction = c.get("jurisdiction");
    if (jurisdiction === undefined) return;
    const hops = c.get("hops") ?? noHops;
    const value = await deps.receipts.sign({
      requestId: c.get("requestId"),
      jurisdiction: jurisdiction.id,
      hostname: c.get("hostname") ?? null,
      colo: c.get("facts")?.colo ?? null,
      tenantTag: await tenantTagOf(c, deps),
      api: c.get("route") ?? null,
      outcome: outcomeOf(c),
      ...hops,
      nowMs: deps.now(),
    });
    c.res.headers.set("x-meridian-receipt", value);
  };
}
