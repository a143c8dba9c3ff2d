import type { MiddlewareHandler } from "hono";
import { GatewayError } from "#shared/errors/gateway-error.ts";
import type { EdgeDeps } from "../ports.ts";
import type { EdgeEnvironment } from "../request-facts.ts";

const loopback = new Set(["127.0.0.1", "localhost", "[::1]"]);

/**
 * Decides the jurisdiction from the hostname, before anything else is looked at. There is no default: an unknown hostname
 * is refused. In development plain loopback names leave it to the key (docs/architecture.md).
 */
export function jurisdiction(deps: EdgeDeps): MiddlewareHandler<EdgeEnvironment> {
  return async (c, next) => {
    const { hostname } = new URL(c.req.url);
    const id = deps.topology.jurisdictionByHostname.get(hostname);
    const description = id === undefined ? undefined : deps.topology.jurisdictions.get(id);
    const isLeftToKey = deps.environment === "development" && loopback.has(hostname);
    if (description === undefined && !isLeftToKey) {
      throw new GatewayError(
        "wrong_jurisdiction",
        "This hostname serves no jurisdiction. Use the hostname that your key was issued for.",
      );
    }
    c.set("jurisdiction", description);
    c.set("hostname", hostname);
    await next();
  };
}
