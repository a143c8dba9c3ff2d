import { Hono } from "hono";
import { parseHistoryCommand } from "#shared/protocol/internal/history.ts";
import type { CellDeps } from "./cell-deps.ts";
import { respondError, respondJson } from "./respond.ts";
import { openSignedCall, readJson } from "./signed-call.ts";

/** Time for one command in the database, ms: less than the 10 s that an object waits, which then sends again. */
const commandTimeoutMs = 8_000;

/** `POST /internal/history`: one command of an object's outbox. 503 when the database cannot be reached. */
export function historyRoutes(deps: CellDeps): Hono {
  const app = new Hono();
  app.post("/internal/history", async (context) => {
    const call = await openSignedCall(context, deps);
    if (!call.ok) return call.response;
    const parsed = parseHistoryCommand(readJson(call.body));
    if (!parsed.ok) {
      return respondError({
        code: "invalid_request",
        message: "The history command is misshapen.",
        param: parsed.path,
      });
    }
    const { command } = parsed;
    if (command.jurisdiction !== deps.cell.jurisdiction) {
      return respondError({
        code: "wrong_jurisdiction",
        message: "This cell does not keep the history of that jurisdiction.",
      });
    }
    // Buffers are erased at once, whatever the database says: erasing is repeatable.
    if (command.kind === "erase") deps.registry.forgetConversation(command.conversationId);
    if (command.kind === "erase" || command.kind === "release") {
      deps.warm.forget(command.conversationId);
    }
    const reply = await deps.history.execute(command, deps.clock.nowMs() + commandTimeoutMs);
    return respondJson(reply, reply.kind === "unavailable" ? 503 : 200);
  });
  return app;
}
