import { createEdgeApp } from "./app.ts";
import { createLog } from "./adapters/logger.ts";
import { createDeps } from "./deps.ts";
import { errorResponseParts } from "#shared/errors/gateway-error.ts";

export { Conversation } from "./objects/conversation.ts";
export { TenantLedger } from "./objects/tenant-ledger.ts";

type App = ReturnType<typeof createEdgeApp>;

const apps = new WeakMap<object, App>();

/** The app of this isolate; built at its first request, because secrets are not there before. */
function appOf(env: Env): App {
  let app = apps.get(env);
  if (app === undefined) {
    app = createEdgeApp(createDeps(env));
    apps.set(env, app);
  }
  return app;
}

/** A broken configuration must be seen: nothing is served, and each request says why in the log. */
function refuse(error: unknown): Response {
  const log = createLog("edge", "error", () => Date.now());
  const reason = error instanceof Error ? `${error.name}: ${error.message}` : "unknown";
  for (const line of reason.split("\n")) log("error", "configurationRefused", { reason: line });
  const { status, headers, body } = errorResponseParts({
    code: "internal_error",
    message: "The edge is not configured. Its log names what is missing.",
  });
  return new Response(JSON.stringify(body), { status, headers });
}

export default {
  fetch(request, env, ctx): Response | Promise<Response> {
    let app: App;
    try {
      app = appOf(env);
    } catch (error) {
      return refuse(error);
    }
    return app.fetch(request, env, ctx);
  },
} satisfies ExportedHandler<Env>;
