/** A pass-through of Hono on Node, in front of the engine at ENGINE: the floor that the cell's CPU is held to. */
import { serve } from "@hono/node-server";
import { Hono } from "hono";

const engine = process.env["ENGINE"] ?? "";
const app = new Hono();
app.all("*", async ({ req }) => {
  const body = await req.arrayBuffer();
  const headers = { "content-type": "application/json" };
  const answer = await fetch(`${engine}${req.path}`, { method: req.method, headers, body });
  return new Response(answer.body, answer);
});
serve({ fetch: app.fetch, hostname: "127.0.0.1", port: 0 }, ({ port }) => {
  process.stdout.write(
    `${JSON.stringify({ event: "listening", url: `http://127.0.0.1:${port}` })}\n`,
  );
});
