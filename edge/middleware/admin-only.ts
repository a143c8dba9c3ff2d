import type { MiddlewareHandler } from "hono";
import { GatewayError } from "#shared/errors/gateway-error.ts";
import type { EdgeDeps } from "../ports.ts";
import type { EdgeEnvironment } from "../request-facts.ts";
import { presentedCredential } from "./authenticate.ts";

/**
 * Lets operators' keys (`mk_admin_…`) through and nobody else: a tenant's key is told that there is nothing here, as at
 * any path that does not exist.
 */
export function adminOnly(deps: EdgeDeps): MiddlewareHandler<EdgeEnvironment> {
  return async (c, next) => {
    const credential = await deps.verifyCredential(presentedCredential(c));
    switch (credential.kind) {
      case "admin":
        return next();
      case "tenant":
        throw new GatewayError("not_found", "Nothing is served at this path.");
      case "refused":
        throw new GatewayError("invalid_api_key", "The credential is not valid here.");
    }
  };
}
