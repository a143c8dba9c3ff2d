import type { Context, Hono } from "hono";
import { GatewayError } from "#shared/errors/gateway-error.ts";
import { unknownQueryParameter } from "#shared/protocol/openai/parse-json-body.ts";
import type { EdgeEnvironment } from "../request-facts.ts";
import { throwRefusal } from "../turns/prepared-turn.ts";

/** What runs for one method of a path. */
export interface RouteEntry {
  /** Query parameters that the route knows; all others are refused by name. Default: none. */
  readonly query?: readonly string[];
  readonly run: (c: Context<EdgeEnvironment>) => Promise<Response> | Response;
}

/** The methods of one path. HEAD is answered as GET without a body, by Hono. */
export interface RouteMethods {
  readonly GET?: RouteEntry;
  readonly POST?: RouteEntry;
  readonly DELETE?: RouteEntry;
}

/** Mounts a path: a method that it does not have is 405 with `Allow`, an unknown query parameter 400. */
export function mount(app: Hono<EdgeEnvironment>, path: string, methods: RouteMethods): void {
  const allow = Object.keys(methods).join(", ");
  app.all(path, (c) => {
    c.set("route", path);
    const method = c.req.method === "HEAD" ? "GET" : c.req.method;
    const entry = Object.hasOwn(methods, method)
      ? methods[method as keyof RouteMethods]
      : undefined;
    if (entry === undefined) {
      c.set("allow", allow);
      throw new GatewayError("method_not_allowed", `This path answers ${allow}.`);
    }
    const at = c.req.url.indexOf("?");
    if (at !== -1) {
      const names = new URLSearchParams(c.req.url.slice(at + 1)).keys();
      const refusal = unknownQueryParameter(names, entry.query ?? []);
      if (refusal !== null) throwRefusal(refusal);
    }
    return entry.run(c);
  });
}
