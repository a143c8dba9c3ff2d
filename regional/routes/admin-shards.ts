import { Hono } from "hono";
import { parseShardCommand } from "#shared/protocol/internal/shard-admin.ts";
import type { ShardAdminState } from "#shared/protocol/internal/shard-admin.ts";
import type { ShardId } from "#shared/residency/brands.ts";
import type { CellDeps } from "./cell-deps.ts";
import { respondError, respondJson } from "./respond.ts";
import { openSignedCall, readJson } from "./signed-call.ts";

/**
 * What operators do with a cell's shards: `GET /internal/shards` lists them, `POST /internal/shards` drains or undrains
 * one. A change is kept in the cell's data folder before it is answered.
 */
export function adminShardRoutes(deps: CellDeps): Hono {
  const app = new Hono();

  function list(): readonly ShardAdminState[] {
    return deps.drains.states().map(({ shard, ...state }) => ({
      id: shard,
      ...state,
      engine: deps.engines.get(shard)?.abilities(),
    }));
  }

  function isDrained(shard: string): boolean {
    return list().some(({ id, state }) => id === shard && state !== "active");
  }

  app.get("/internal/shards", async (context) => {
    const call = await openSignedCall(context, deps);
    if (!call.ok) return call.response;
    return respondJson({ shards: list() });
  });

  app.post("/internal/shards", async (context) => {
    const call = await openSignedCall(context, deps);
    if (!call.ok) return call.response;
    const command = parseShardCommand(readJson(call.body));
    if (command === null) {
      return respondError({ code: "invalid_request", message: "The internal call is misshapen." });
    }
    const { shard, kind } = command;
    if (!list().some(({ id }) => id === shard)) {
      return respondError({ code: "not_found", message: "This cell has no such shard." });
    }
    if (kind === "drain") {
      const wasActive = !isDrained(shard);
      deps.drains.drain(shard as ShardId, deps.clock.nowMs() + command.deadlineMs);
      // In the background: the answer does not wait for conversations to be warm elsewhere.
      if (wasActive) void deps.warm.moveAhead(shard as ShardId, () => isDrained(shard));
    } else {
      deps.drains.undrain(shard as ShardId);
    }
    deps.drains.tick();
    deps.log("info", kind === "drain" ? "shard_drained" : "shard_undrained", { shard });
    return respondJson({ shards: list().filter(({ id }) => id === shard) });
  });

  return app;
}
