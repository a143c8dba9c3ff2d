/** Faults that strike before a prompt is looked at. */
import { EngineError } from "./errors.ts";
import type { FaultKind, FaultSpec } from "./faults.ts";
import { sendError, type Exchange } from "./exchange.ts";

const statuses: Readonly<Record<string, number>> = {
  "status-429": 429,
  "status-500": 500,
  "status-503": 503,
};

/** The client goes: the only way out of a stall. */
export function untilClosed(exchange: Exchange): Promise<void> {
  return new Promise((resolve) => {
    if (exchange.isOpen()) exchange.response.once("close", resolve);
    else resolve();
  });
}

type Strike = (exchange: Exchange, fault: FaultSpec) => boolean | Promise<boolean>;

const strikes: Partial<Record<FaultKind, Strike>> = {
  refuse({ request }) {
    request.socket.resetAndDestroy();
    return true;
  },
  async delay(exchange, fault) {
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, fault.delayMs ?? 1_000);
      exchange.response.once("close", () => {
        clearTimeout(timer);
        resolve();
      });
    });
    return !exchange.isOpen();
  },
  async stall(exchange, fault) {
    // Without `afterTokens` not even the headers come.
    if ((fault.afterTokens ?? 0) > 0) return false;
    await untilClosed(exchange);
    return true;
  },
  html({ response }) {
    response.writeHead(200, { "content-type": "text/html; charset=utf-8" });
    response.end("<!doctype html><html><body><h1>It works!</h1></body></html>");
    return true;
  },
  redirect({ response }) {
    // The metadata address of F-63: a client that follows it is caught.
    response.writeHead(307, { location: "http://169.254.169.254/latest/meta-data/" });
    response.end();
    return true;
  },
};

/**
 * Applies the request's fault if it is one of these.
 * @returns true when the exchange is over.
 */
export async function strikeEarly(exchange: Exchange): Promise<boolean> {
  const { fault, response } = exchange;
  if (fault === undefined) return false;
  const status = statuses[fault.kind];
  if (status !== undefined) {
    const retryAfter = fault.retryAfterSeconds ?? (status === 429 ? 1 : undefined);
    const headers: Record<string, string> =
      retryAfter === undefined ? {} : { "retry-after": String(retryAfter) };
    sendError(response, new EngineError(status, `Simulated fault ${fault.kind}.`), headers);
    return true;
  }
  return (await strikes[fault.kind]?.(exchange, fault)) ?? false;
}
