import { Hono } from "hono";
import type { CellState } from "#shared/protocol/internal/cell-state.ts";
import type { CellDeps } from "./cell-deps.ts";
import { respondJson } from "./respond.ts";
import { openSignedCall } from "./signed-call.ts";

/** What operators see of the cell itself: `GET /internal/cell`. */
export function cellStateRoutes(deps: CellDeps): Hono {
  const app = new Hono();
  app.get("/internal/cell", async (context) => {
    const call = await openSignedCall(context, deps);
    if (!call.ok) return call.response;
    const { level, plans } = deps;
    const state: CellState = {
      level: level.level(),
      levelSinceMs: level.sinceMs(),
      ...level.inputs(),
      plans: plans().map(({ model, reason, replicas, text, there, wanted }) => ({
        model,
        there,
        replicas,
        wanted,
        reason,
        text,
      })),
    };
    return respondJson(state);
  });
  return app;
}
