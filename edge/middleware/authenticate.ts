import type { Context, MiddlewareHandler } from "hono";
import { priorities } from "#shared/config/topology.ts";
import type { Priority } from "#shared/config/topology.ts";
import { GatewayError } from "#shared/errors/gateway-error.ts";
import { invariant } from "#shared/errors/invariant.ts";
import type { Position } from "#shared/routing/near-cells.ts";
import type { EdgeDeps } from "../ports.ts";
import type { EdgeEnvironment } from "../request-facts.ts";

/** How long a client waits when it does not say, and the longest it may ask for, ms; docs/architecture.md. */
const deadlineDefaultMs = 600_000;
const deadlineMaxMs = 3_600_000;

/** What stands after `Bearer`. @throws GatewayError 401 without one. */
export function presentedCredential(c: Context<EdgeEnvironment>): string {
  const header = c.req.header("authorization") ?? "";
  const match = /^Bearer +(\S+)$/i.exec(header);
  if (match?.[1] === undefined) {
    throw new GatewayError(
      "invalid_api_key",
      "No credential was given. Send an API key as 'Authorization: Bearer mk_…'.",
    );
  }
  return match[1];
}

/** `x-meridian-deadline-ms`: how long the client will wait, as an absolute time. */
function readDeadlineMs(c: Context<EdgeEnvironment>): number {
  const text = c.req.header("x-meridian-deadline-ms");
  if (text === undefined) return c.get("startedAtMs") + deadlineDefaultMs;
  const waitMs = /^\d{1,7}$/.test(text) ? Number(text) : 0;
  if (waitMs < 1 || waitMs > deadlineMaxMs) {
    throw new GatewayError(
      "invalid_request",
      `x-meridian-deadline-ms must be a whole number from 1 to ${deadlineMaxMs}.`,
      { param: "x-meridian-deadline-ms" },
    );
  }
  return c.get("startedAtMs") + waitMs;
}

/** `x-meridian-priority`, never above the tenant's ceiling. */
function readPriority(c: Context<EdgeEnvironment>, ceiling: Priority): Priority {
  const text = c.req.header("x-meridian-priority");
  if (text === undefined) return ceiling;
  const asked = priorities.find((priority) => priority === text);
  if (asked === undefined) {
    throw new GatewayError(
      "invalid_request",
      `x-meridian-priority must be one of ${priorities.join(", ")}.`,
      { param: "x-meridian-priority" },
    );
  }
  return priorities.indexOf(asked) > priorities.indexOf(ceiling) ? asked : ceiling;
}

/** Where the client is, as far as the platform knows (`request.cf`); it is used to choose among the jurisdiction's cells, and not kept. */
function positionOf(request: Request): Position | null {
  const { cf } = request as { cf?: { latitude?: unknown; longitude?: unknown } };
  const latitude = readDegrees(cf?.latitude, 90);
  const longitude = readDegrees(cf?.longitude, 180);
  return latitude === null || longitude === null ? null : { latitude, longitude };
}

function readDegrees(value: unknown, most: number): number | null {
  if (typeof value !== "string" || !/^-?\d{1,3}(?:\.\d{1,10})?$/.test(value)) return null;
  const degrees = Number(value);
  return Math.abs(degrees) <= most ? degrees : null;
}

function coloOf(request: Request): string | null {
  const { cf } = request as { cf?: { colo?: unknown } };
  return typeof cf?.colo === "string" ? cf.colo : null;
}

/** The Worker's `waitUntil`; a no-op outside of one, where nothing is cut short. */
function waitUntilOf(c: Context<EdgeEnvironment>): (work: Promise<unknown>) => void {
  let execution: { waitUntil(work: Promise<unknown>): void } | null = null;
  try {
    execution = c.executionCtx;
  } catch {
    // Hono throws where the app is mounted without an execution context.
  }
  return (work) => {
    const quiet = work.catch(() => undefined);
    if (execution !== null) execution.waitUntil(quiet);
  };
}

/**
 * Proves who asks, and that key and hostname agree: a key of another jurisdiction is answered 421 before the body is
 * read. Sets the request's facts; without them no route of /v1 runs.
 */
export function authenticate(deps: EdgeDeps): MiddlewareHandler<EdgeEnvironment> {
  return async (c, next) => {
    const credential = await deps.verifyCredential(presentedCredential(c));
    if (credential.kind !== "tenant") {
      throw new GatewayError(
        "invalid_api_key",
        "The credential is not valid here. Check the key, its jurisdiction and its expiry.",
      );
    }
    const { tenant, key } = credential;
    const own = deps.topology.jurisdictions.get(tenant.jurisdiction);
    invariant(own !== undefined, "a tenant's jurisdiction is in the topology");
    const jurisdiction = c.get("jurisdiction");
    if (jurisdiction !== undefined && jurisdiction.id !== own.id) {
      throw new GatewayError(
        "wrong_jurisdiction",
        "This key belongs to another jurisdiction. Use the hostname that it was issued for.",
      );
    }
    c.set("jurisdiction", own);
    c.set("facts", {
      requestId: c.get("requestId"),
      traceparent: c.get("traceparent"),
      jurisdiction: own,
      tenant,
      key,
      priority: readPriority(c, tenant.priority),
      startedAtMs: c.get("startedAtMs"),
      deadlineMs: readDeadlineMs(c),
      colo: coloOf(c.req.raw),
      position: positionOf(c.req.raw),
      signal: c.req.raw.signal,
      waitUntil: waitUntilOf(c),
    });
    await next();
  };
}
