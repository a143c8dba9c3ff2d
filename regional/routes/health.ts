import { Hono } from "hono";
import type { CellDeps } from "./cell-deps.ts";
import { respondJson } from "./respond.ts";

/** `/healthz`: the process lives. `/readyz`: it takes prompts. `/metrics`: Prometheus text. None holds a URL or a tenant. */
export function healthRoutes(deps: CellDeps): Hono {
  const app = new Hono();
  app.get("/healthz", () => respondJson({ status: "ok", cell: deps.cell.id }));
  app.get("/readyz", () => {
    const { isReady, reasons } = deps.readiness();
    const status = isReady ? "ready" : "notReady";
    return respondJson({ status, cell: deps.cell.id, reasons }, isReady ? 200 : 503);
  });
  app.get(
    "/metrics",
    () =>
      new Response(deps.metrics.render(), {
        headers: { "content-type": "text/plain; version=0.0.4; charset=utf-8" },
      }),
  );
  return app;
}
