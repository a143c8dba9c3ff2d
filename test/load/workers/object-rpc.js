import { DurableObject } from "cloudflare:workers";

export class Probe extends DurableObject {
  /** WRITES is "0" or "1": a small answer, or one after a row. */
  constructor(ctx, env) {
    super(ctx, env);
    if (env.WRITES === "1") ctx.storage.sql.exec("CREATE TABLE IF NOT EXISTS rows (text TEXT)");
  }

  ask(text) {
    if (this.env.WRITES === "1")
      this.ctx.storage.sql.exec("INSERT INTO rows (text) VALUES (?)", text);
    return { text };
  }
}

let count = 0;

export default {
  async fetch(request, env) {
    const { pathname } = new URL(request.url);
    // 64 objects, warm after the warm-up.
    count = (count + 1) % 64;
    await env.PROBE.get(env.PROBE.idFromName(String(count))).ask("a row");
    return fetch(new Request(env.ENGINE + pathname, request), { redirect: "manual" });
  },
};
