/**
 * A fast engine for the benchmark: chat completions of 64 tokens, as one body or as a stream. The last message says how:
 * `[[paced]]` sends a token every 5 ms, `[[held]]` one every second until `POST /release` and then the rest, anything
 * else all at once.
 */
import { createServer } from "node:http";
import type { IncomingMessage, ServerResponse } from "node:http";

const tokens = 64;
const model = "bench/model";
const head = { id: "chatcmpl-bench", created: 1, model };
const usage = { prompt_tokens: 8, completion_tokens: tokens, total_tokens: 8 + tokens };

function event(value: unknown): string {
  return `data: ${JSON.stringify(value)}\n\n`;
}

function chunk(delta: object, finishReason: string | null): string {
  return event({
    ...head,
    object: "chat.completion.chunk",
    choices: [{ index: 0, delta, finish_reason: finishReason }],
  });
}

const first = chunk({ role: "assistant", content: "word " }, null);
const next = chunk({ content: "word " }, null);
const last =
  chunk({}, "stop") +
  event({ ...head, object: "chat.completion.chunk", choices: [], usage }) +
  "data: [DONE]\n\n";
const whole = first + next.repeat(tokens - 1) + last;
const document = JSON.stringify({
  ...head,
  object: "chat.completion",
  choices: [
    {
      index: 0,
      message: { role: "assistant", content: "word ".repeat(tokens) },
      finish_reason: "stop",
    },
  ],
  usage,
});

const held = new Set<() => void>();

/** Sends a token each period, and what is left of the answer at its end: a held stream's is its release. */
function sendPaced(response: ServerResponse, periodMs: number, isHeld: boolean): void {
  let sent = 1;
  response.write(first);
  const finish = () => {
    clearInterval(timer);
    held.delete(finish);
    response.end(next.repeat(tokens - sent) + last);
  };
  const timer = setInterval(() => {
    if (sent >= tokens) return finish();
    sent += 1;
    response.write(next);
  }, periodMs);
  if (isHeld) held.add(finish);
  response.on("close", () => {
    clearInterval(timer);
    held.delete(finish);
  });
}

function complete(body: string, response: ServerResponse): void {
  if (!body.includes('"stream":true')) {
    response.writeHead(200, { "content-type": "application/json" }).end(document);
    return;
  }
  response.writeHead(200, { "content-type": "text/event-stream" });
  if (body.includes("[[paced]]")) sendPaced(response, 5, false);
  else if (body.includes("[[held]]")) sendPaced(response, 1_000, true);
  else response.end(whole);
}

function answer(request: IncomingMessage, response: ServerResponse): void {
  const parts: Buffer[] = [];
  request.on("data", (part: Buffer) => parts.push(part));
  request.on("end", () => {
    if (request.url === "/release") {
      for (const finish of held) finish();
      response.end();
    } else if (request.method === "POST") complete(Buffer.concat(parts).toString("utf8"), response);
    else if (request.url === "/v1/models")
      response
        .writeHead(200, { "content-type": "application/json" })
        .end(JSON.stringify({ object: "list", data: [{ id: model, object: "model" }] }));
    else response.writeHead(request.url === "/health" ? 200 : 404).end();
  });
}

const server = createServer({ keepAliveTimeout: 60_000 }, answer);
server.listen(0, "127.0.0.1", () => {
  const address = server.address();
  if (address === null || typeof address === "string") throw new TypeError("no port");
  process.stdout.write(
    `${JSON.stringify({ event: "listening", url: `http://127.0.0.1:${address.port}` })}\n`,
  );
});
