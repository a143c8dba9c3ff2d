import type { Server } from "node:http";
import { serve } from "@hono/node-server";
import type { Hono } from "hono";

/** Limits of the server (reliability page, 9.4); idle sockets outlive those of the callers, who reuse them. */
const serverOptions = {
  maxHeaderSize: 16 * 1024,
  headersTimeout: 10_000,
  requestTimeout: 30_000,
  keepAliveTimeout: 75_000,
  insecureHTTPParser: false,
};

/** Serves `app`; `onListening` is told the URL, with the port that was found when 0 was asked for. */
export function serveCell(
  app: Hono,
  listen: { readonly hostname: string; readonly port: number },
  onListening: (url: string) => void,
): Server {
  const settings = { fetch: app.fetch, ...listen, serverOptions, overrideGlobalObjects: true };
  return serve(settings, ({ address, port }) => {
    const host = address.includes(":") ? `[${address}]` : address;
    onListening(`http://${host}:${port}`);
  }) as Server;
}

/** Accepts nothing more, and ends connections that are still open after `timeoutMs`. */
export async function closeServer(server: Server, timeoutMs: number): Promise<void> {
  const closed = new Promise<void>((resolve) => {
    server.close(() => resolve());
  });
  server.closeIdleConnections();
  const timer = setTimeout(() => server.closeAllConnections(), timeoutMs);
  await closed;
  clearTimeout(timer);
}
