import { createServer, request } from "node:http";
import type { IncomingMessage, ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { EventStreamCodec } from "@smithy/core/event-streams";
import type { FakeEngine } from "./fake-engine.ts";

/** Parts are cut everywhere, also inside characters and inside `[DONE]`. */
const partBytes = 7;

const codec = new EventStreamCodec(
  (bytes) => Buffer.from(bytes as Uint8Array).toString("utf8"),
  (text) => Buffer.from(text, "utf8"),
);

function headersOf(fields: Readonly<Record<string, string>>) {
  return Object.fromEntries(
    Object.entries(fields).map(([name, value]) => [name, { type: "string" as const, value }]),
  );
}

function part(bytes: Uint8Array): Uint8Array {
  const headers = headersOf({
    ":message-type": "event",
    ":event-type": "PayloadPart",
    ":content-type": "application/octet-stream",
  });
  return codec.encode({ headers, body: bytes });
}

/** An exception inside the stream, as the service frames it. */
export function streamException(name: string, body: object): Uint8Array {
  const headers = headersOf({
    ":message-type": "exception",
    ":exception-type": name,
    ":content-type": "application/json",
  });
  return codec.encode({ headers, body: Buffer.from(JSON.stringify(body)) });
}

/** Refuses a call as the service does, in place of the container. */
export function refusesAs(name: string, status: number, fields: object = {}) {
  return (response: ServerResponse): void => {
    response.writeHead(status, {
      "content-type": "application/json",
      "x-amzn-errortype": name,
      "x-amzn-requestid": "r",
    });
    response.end(JSON.stringify({ Message: "as the service says", ...fields }));
  };
}

/** One call as the endpoint saw it. */
export interface SeenInvocation {
  readonly path: string;
  readonly headers: IncomingMessage["headers"];
}

/** A SageMaker runtime whose container is a fake engine; its framing is AWS's own codec. */
export interface FakeSageMaker {
  readonly url: string;
  readonly invocations: SeenInvocation[];
  /** What the service itself does with a call, or null: the container answers. */
  service: ((response: ServerResponse) => void) | null;
  /** What follows the container's bytes. */
  tail: Uint8Array | null;
  close(): Promise<void>;
}

function enginePath(body: Buffer): string {
  const fields = JSON.parse(body.toString("utf8")) as object;
  if ("messages" in fields) return "/chat/completions";
  return "prompt" in fields ? "/completions" : "/embeddings";
}

function sendParts(response: ServerResponse, bytes: Buffer): void {
  for (let at = 0; at < bytes.byteLength; at += partBytes) {
    response.write(part(bytes.subarray(at, at + partBytes)));
  }
}

async function wholeBody(message: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of message as AsyncIterable<Buffer>) chunks.push(chunk);
  return Buffer.concat(chunks);
}

/** Passes the container's answer on in the service's clothes. */
async function translate(
  fake: FakeSageMaker,
  answer: IncomingMessage,
  response: ServerResponse,
  isStreamed: boolean,
): Promise<void> {
  const status = answer.statusCode ?? 500;
  if (status !== 200) {
    const OriginalMessage = (await wholeBody(answer)).toString("utf8");
    refusesAs("ModelError", 424, { OriginalStatusCode: status, OriginalMessage })(response);
    return;
  }
  if (!isStreamed) {
    response.writeHead(200, { "content-type": "application/json" });
    response.end(await wholeBody(answer));
    return;
  }
  response.writeHead(200, {
    "content-type": "application/vnd.amazon.eventstream",
    "x-amzn-sagemaker-content-type": answer.headers["content-type"] ?? "",
  });
  response.flushHeaders();
  try {
    for await (const chunk of answer as AsyncIterable<Buffer>) sendParts(response, chunk);
    if (fake.tail !== null) response.write(fake.tail);
    response.end();
  } catch {
    response.destroy();
  }
}

/** Starts the service in front of `engine`. */
export async function startFakeSageMaker(engine: FakeEngine): Promise<FakeSageMaker> {
  const invocations: SeenInvocation[] = [];
  const server = createServer((incoming, response) => {
    void wholeBody(incoming).then((body) => {
      const path = incoming.url ?? "";
      invocations.push({ path, headers: incoming.headers });
      if (fake.service !== null) return fake.service(response);
      const outgoing = request(
        `${engine.url}${enginePath(body)}`,
        { method: "POST", headers: { "content-type": "application/json" } },
        (answer) => void translate(fake, answer, response, path.endsWith("-response-stream")),
      );
      outgoing.on("error", () => response.destroy());
      response.on("close", () => outgoing.destroy());
      outgoing.end(body);
    });
  });
  await new Promise<void>((resolve) => {
    server.listen(0, "127.0.0.1", resolve);
  });
  const { port } = server.address() as AddressInfo;
  const fake: FakeSageMaker = {
    url: `http://127.0.0.1:${port}`,
    invocations,
    service: null,
    tail: null,
    close: () =>
      new Promise<void>((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
  return fake;
}
