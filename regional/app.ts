import { Hono } from "hono";
import { adminShardRoutes } from "./routes/admin-shards.ts";
import type { CellDeps } from "./routes/cell-deps.ts";
import { cellStateRoutes } from "./routes/cell-state.ts";
import { healthRoutes } from "./routes/health.ts";
import { historyRoutes } from "./routes/history.ts";
import { prewarmRoutes } from "./routes/prewarm.ts";
import { respondError } from "./routes/respond.ts";
import { headerCount } from "./routes/signed-call.ts";
import { turnRoutes } from "./routes/turns.ts";

/** Headers of one call; more are refused (reliability page, 9.4). Bytes are bounded by the server. */
const headersMax = 100;

/** The cell's HTTP surface, without configuration, clock or network of its own. */
export function createCellApp(deps: CellDeps): Hono {
  const app = new Hono();
  app.use(async (context, next) => {
    if (headerCount(context) <= headersMax) return next();
    return respondError({ code: "headers_too_large", message: "The call has too many headers." });
  });
  app.route("/", healthRoutes(deps));
  app.route("/", turnRoutes(deps));
  app.route("/", historyRoutes(deps));
  app.route("/", adminShardRoutes(deps));
  app.route("/", prewarmRoutes(deps));
  app.route("/", cellStateRoutes(deps));
  app.notFound(() => respondError({ code: "not_found", message: "There is nothing here." }));
  app.onError((error) => {
    deps.log("error", "internal_error", { reason: error.name });
    return respondError({ code: "internal_error", message: "The cell failed to answer." });
  });
  return app;
}
