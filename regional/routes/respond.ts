import { errorResponseParts } from "#shared/errors/gateway-error.ts";
import type { ErrorOutcome } from "#shared/errors/gateway-error.ts";
import {
  expectedWaitHeader,
  levelHeader,
  outcomeHeader,
  overloadHeader,
  throttleHeader,
} from "#shared/protocol/internal/stream.ts";
import type { TurnOutcome } from "#shared/protocol/internal/turn-outcome.ts";
import type { CellDeps } from "./cell-deps.ts";

/**
 * Headers that say where an answer was made, the cell's degradation level at its beginning, and what of the tenant's the cell
 * wants kept away.
 */
export function placeHeaders(
  { cell, level, throttle }: Pick<CellDeps, "cell" | "level" | "throttle">,
  { shard, tenant }: { readonly tenant: string; readonly shard: string | null },
): Record<string, string> {
  const headers: Record<string, string> = {
    "x-meridian-cell": cell.id,
    [levelHeader]: String(level.level()),
  };
  const kept = throttle.header(tenant);
  if (kept !== null) headers[throttleHeader] = kept;
  return shard === null ? headers : { ...headers, "x-meridian-shard": shard };
}

/** What a turn that waits for a shard to start tells its reader; `expectedMs` null: it does not. */
export function waitHeaders(expectedMs: number | null): Record<string, string> {
  return expectedMs === null ? {} : { [expectedWaitHeader]: String(Math.ceil(expectedMs)) };
}

/** An outcome as a header: its JSON, escaped to ASCII, without items and body. */
export function outcomeHeaders(outcome: TurnOutcome): Record<string, string> {
  const light: TurnOutcome = { ...outcome, items: [], body: null };
  const json = JSON.stringify(light).replaceAll(
    /[\u007f-\uffff]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
  return { [outcomeHeader]: json };
}

/** An error answer; `saturated` says that the whole cell is full, so that the edge may try another. */
export function respondError(error: ErrorOutcome, headers: Record<string, string> = {}): Response {
  const { status, headers: own, body } = errorResponseParts(error);
  const overload: Record<string, string> =
    error.code === "saturated" ? { [overloadHeader]: "cell" } : {};
  // 499 is never sent by a server that has a client; 200 belongs to errors inside streams.
  const sent = status === 200 ? 502 : status;
  return new Response(JSON.stringify(body), {
    status: sent,
    headers: { ...own, ...overload, ...headers },
  });
}

/** A JSON answer. */
export function respondJson(value: unknown, status = 200): Response {
  return new Response(JSON.stringify(value), {
    status,
    headers: { "content-type": "application/json" },
  });
}
