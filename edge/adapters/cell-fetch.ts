import type { CellDescription } from "#shared/config/topology.ts";
import type { CellFetch } from "./conversation-ports.ts";

/** Signs one call for one cell: headers of shared/protocol/internal/signature.ts. */
export type SignCall = (call: {
  readonly method: string;
  readonly path: string;
  readonly body: string;
  readonly cell: CellDescription["id"];
}) => Promise<Readonly<Record<string, string>>>;

/** A signed call with headers of its own, as the cell client makes it. */
export type CellRequest = (
  cell: CellDescription,
  call: {
    readonly method: string;
    readonly path: string;
    readonly body: string;
    readonly headers?: Readonly<Record<string, string>>;
  },
  signal: AbortSignal,
) => Promise<Response>;

/**
 * Signed calls to cells. The cell's URL comes from the topology only; `redirect: "manual"`, because a followed 307 would
 * send the prompt to another origin. Retries nothing, but signs once more when a cell answers 401: its clock or its start
 * may lie after the signature's time. Rejects when the cell cannot be reached or `signal` aborts.
 */
export function createCellRequest(sign: SignCall, fetcher: typeof fetch): CellRequest {
  const send: CellRequest = async (cell, { method, path, body, headers = {} }, signal) => {
    const signature = await sign({ method, path, body, cell: cell.id });
    return fetcher(`${cell.url}${path}`, {
      method,
      headers: {
        ...(body === "" ? {} : { "content-type": "application/json" }),
        ...headers,
        ...signature,
      },
      ...(body === "" ? {} : { body }),
      redirect: "manual",
      signal,
    });
  };
  return async (cell, call, signal) => {
    const first = await send(cell, call, signal);
    if (first.status !== 401) return first;
    await first.body?.cancel();
    return send(cell, call, signal);
  };
}

/** The same calls as the objects make them. */
export function createCellFetch(request: CellRequest): CellFetch {
  return (cell, call, signal) => request(cell, call, signal);
}
