import type { Hono } from "hono";
import { adminOnly } from "../middleware/admin-only.ts";
import type { EdgeDeps } from "../ports.ts";
import type { EdgeEnvironment } from "../request-facts.ts";
import { addAdminCells } from "./admin-cells.ts";
import { addAdminConversations } from "./admin-conversations.ts";
import { addAdminShards } from "./admin-shards.ts";

/** What operators do: everything under `/admin/v1`, with an operator's key only. */
export function addAdmin(app: Hono<EdgeEnvironment>, deps: EdgeDeps): void {
  app.use("/admin/*", adminOnly(deps));
  addAdminCells(app, deps);
  addAdminShards(app, deps);
  addAdminConversations(app, deps);
}
