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
    const { level } = deps;
    const state: CellState = {
      level: level.level(),
      levelSinceMs: level.sinceMs(),
      ...level.inputs(),
    };
    return respondJson(state);
  });
  return app;
}
