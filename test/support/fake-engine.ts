import { createServer } from "node:http";
import type { IncomingMessage, ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

/** One request as the fake engine saw it. */
export interface SeenRequest {
  readonly path: string;
  readonly headers: IncomingMessage["headers"];
  readonly body: Record<string, unknown>;
  /** Whether the connection broke before the answer had ended. */
  isAborted: boolean;
}

/** What is sent apart from the rest arrives apart from it, ms. */
export const apartMs = 30;

/** How the engine answers one prompt. */
export type EngineAnswer = (response: ServerResponse, request: SeenRequest) => void | Promise<void>;

/** A small OpenAI-compatible server whose every answer a test decides. */
export interface FakeEngine {
  /** With `/v1`. */
  readonly url: string;
  readonly requests: SeenRequest[];
  /** How prompts are answered from now on. */
  answer: EngineAnswer;
  /** Status of `/health`. */
  health: number;
  /** Body of `/metrics`; null: there is none. */
  metrics: string | null;
  close(): Promise<void>;
}

function chunk(fields: object): string {
  return `data: ${JSON.stringify({ id: "x", object: "chat.completion.chunk", created: 1, model: "m", ...fields })}\n\n`;
}

/** The chunk of one piece of a chat answer. */
export function deltaChunk(content: string, finishReason: string | null = null): string {
  const choice = { index: 0, delta: { content }, finish_reason: finishReason };
  return chunk({ choices: [choice] });
}

export const usageChunk = chunk({
  choices: [],
  usage: { prompt_tokens: 7, completion_tokens: 3, total_tokens: 10 },
});
export const doneChunk = "data: [DONE]\n\n";

/** Sends the head of a stream. */
export function openStream(response: ServerResponse): void {
  response.writeHead(200, { "content-type": "text/event-stream" });
}

/** What the request has of the answer already, when it asks for a continuation (vLLM's protocol). */
function begunWith({ body }: SeenRequest): string {
  const { messages, continue_final_message: continues } = body;
  const last: unknown = Array.isArray(messages) ? messages.at(-1) : null;
  if (continues !== true || typeof last !== "object" || last === null) return "";
  return "content" in last ? String(last.content) : "";
}

/** Answers `answer`, but fails when it is asked to go on with what was said. */
export function refusesToContinue(answer: EngineAnswer): EngineAnswer {
  return (response, seen) => (begunWith(seen) === "" ? answer : refuses(500))(response, seen);
}

/** A whole chat answer of these pieces, or the rest of it. */
export function says(...pieces: readonly string[]): EngineAnswer {
  return (response, seen) => {
    openStream(response);
    let skipped = begunWith(seen).length;
    for (const piece of pieces) {
      const rest = piece.slice(skipped);
      skipped = Math.max(0, skipped - piece.length);
      if (rest !== "") response.write(deltaChunk(rest));
    }
    response.end(deltaChunk("", "stop") + usageChunk + doneChunk);
  };
}

/** An answer with this status and body. */
export function refuses(
  status: number,
  body = "{}",
  headers: Record<string, string> = {},
): EngineAnswer {
  return (response) => {
    response.writeHead(status, { "content-type": "application/json", ...headers });
    response.end(body);
  };
}

/** Sends these pieces, then breaks the connection. */
export function cutsAfter(...pieces: readonly string[]): EngineAnswer {
  return (response) => {
    openStream(response);
    const text = pieces.map((piece) => deltaChunk(piece)).join("") || ": open\n\n";
    response.write(text, () => setTimeout(() => response.destroy(), apartMs));
  };
}

/** Sends these pieces, and then nothing more. */
export function hangsAfter(...pieces: readonly string[]): EngineAnswer {
  return (response) => {
    openStream(response);
    response.write(pieces.map((piece) => deltaChunk(piece)).join("") || ": open\n\n");
  };
}

/** Starts an engine that answers `Hello world` until told otherwise. */
export async function startFakeEngine(): Promise<FakeEngine> {
  const requests: SeenRequest[] = [];
  const engine: Pick<FakeEngine, "answer" | "health" | "metrics"> = {
    answer: says("Hello", " world"),
    health: 200,
    metrics: null,
  };
  const server = createServer((incoming, response) => {
    const chunks: Buffer[] = [];
    incoming.on("data", (part: Buffer) => chunks.push(part));
    incoming.on("end", () => {
      const path = incoming.url ?? "";
      if (path === "/health") return void response.writeHead(engine.health).end();
      if (path === "/metrics") {
        response.writeHead(engine.metrics === null ? 404 : 200, { "content-type": "text/plain" });
        return void response.end(engine.metrics ?? "");
      }
      const text = Buffer.concat(chunks).toString("utf8");
      const body = (text === "" ? {} : JSON.parse(text)) as Record<string, unknown>;
      const seen: SeenRequest = { path, headers: incoming.headers, body, isAborted: false };
      requests.push(seen);
      response.on("close", () => {
        if (!response.writableFinished) seen.isAborted = true;
      });
      void engine.answer(response, seen);
    });
  });
  await new Promise<void>((resolve) => {
    server.listen(0, "127.0.0.1", resolve);
  });
  const { port } = server.address() as AddressInfo;
  return Object.assign(engine, {
    url: `http://127.0.0.1:${port}/v1`,
    requests,
    close: () =>
      new Promise<void>((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  });
}
