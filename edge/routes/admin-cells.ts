import type { Context, Hono } from "hono";
import type { EdgeDeps } from "../ports.ts";
import type { EdgeEnvironment } from "../request-facts.ts";
import { visibleJurisdictions } from "./admin-shards.ts";
import { mount } from "./route.ts";

/** All cells with their degradation levels, and the plans of those that scale their region; one that does not answer is `unknown`. */
async function list(deps: EdgeDeps, c: Context<EdgeEnvironment>): Promise<Response> {
  const cells = visibleJurisdictions(deps, c).flatMap((own) => own.cells);
  const data = await Promise.all(
    cells.map(async (cell) => {
      const state = await deps.cellAdmin.state(cell);
      return {
        id: cell.id,
        object: "cell",
        region: cell.region,
        jurisdiction: cell.jurisdiction,
        state: state === null ? "unknown" : "ready",
        level: state?.level ?? null,
        level_since: state === null ? null : Math.floor(state.levelSinceMs / 1000),
        saturation: state?.saturation ?? null,
        queue_delay: state?.queueDelay ?? null,
        healthy_share: state?.healthyShare ?? null,
        error_ratio: state?.errorRatio ?? null,
        // Only the cell that leads its region's scaler has any.
        scaling_plans: state?.plans ?? [],
      };
    }),
  );
  return c.json({ object: "list", data });
}

/** `GET /admin/v1/cells`. */
export function addAdminCells(app: Hono<EdgeEnvironment>, deps: EdgeDeps): void {
  mount(app, "/admin/v1/cells", { GET: { run: (c) => list(deps, c) } });
}
