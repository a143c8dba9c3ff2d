import { Hono } from "hono";
import { GatewayError } from "#shared/errors/gateway-error.ts";
import { authenticate } from "./middleware/authenticate.ts";
import { renderError } from "./middleware/error-response.ts";
import { drainBody } from "./middleware/drain-body.ts";
import { headerCaps } from "./middleware/header-caps.ts";
import { jurisdiction } from "./middleware/jurisdiction.ts";
import { receipt } from "./middleware/receipt.ts";
import { requestId } from "./middleware/request-id.ts";
import type { EdgeDeps } from "./ports.ts";
import type { EdgeEnvironment } from "./request-facts.ts";
import { addAdmin } from "./routes/admin.ts";
import { addChatCompletions } from "./routes/chat-completions.ts";
import { addConversations } from "./routes/conversations.ts";
import { addEngineRoutes } from "./routes/engine-routes.ts";
import { addModels } from "./routes/models.ts";
import { addPublicRoutes } from "./routes/public-routes.ts";
import { addStreams } from "./routes/streams.ts";
import { addResponses } from "./routes/responses.ts";

/**
 * The edge as one app: what it needs is given, it reads no environment. Default deny: outside the public routes nothing
 * runs without a known hostname and a valid key, and what is not mounted is 404.
 */
export function createEdgeApp(deps: EdgeDeps): Hono<EdgeEnvironment> {
  const app = new Hono<EdgeEnvironment>();
  app.onError(renderError(deps));
  app.notFound(() => {
    throw new GatewayError("not_found", "Nothing is served at this path.");
  });
  app.use("*", requestId(deps), drainBody(deps), headerCaps);
  addPublicRoutes(app, deps);
  app.use("*", receipt(deps), jurisdiction(deps));
  app.use("/v1/*", authenticate(deps));
  addChatCompletions(app, deps);
  addEngineRoutes(app, deps);
  addResponses(app, deps);
  addStreams(app, deps);
  addConversations(app, deps);
  addModels(app);
  addAdmin(app, deps);
  return app;
}
