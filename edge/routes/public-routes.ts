import type { Hono } from "hono";
import type { EdgeDeps } from "../ports.ts";
import type { EdgeEnvironment } from "../request-facts.ts";
import { mount } from "./route.ts";

/** How long a verifier may keep the public keys, seconds; a new key is published before it signs. */
const keysMaxAgeSeconds = 300;

/** What needs no key: liveness, readiness, and the public keys that receipts are checked with. */
export function addPublicRoutes(app: Hono<EdgeEnvironment>, deps: EdgeDeps): void {
  mount(app, "/healthz", { GET: { run: (c) => c.json({ status: "ok" }) } });
  // The app exists only once its configuration is checked, and it holds no connection that could be missing.
  mount(app, "/readyz", { GET: { run: (c) => c.json({ status: "ready" }) } });
  mount(app, "/.well-known/meridian-receipt-keys.json", {
    GET: {
      run: () =>
        new Response(JSON.stringify(deps.receipts.publicKeys), {
          headers: {
            "content-type": "application/jwk-set+json",
            "cache-control": `public, max-age=${keysMaxAgeSeconds}`,
          },
        }),
    },
  });
}
