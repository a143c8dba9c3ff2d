import { createExecutionContext, waitOnExecutionContext } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import worker from "#edge/index.ts";
import { formatOutcomeBlock } from "#shared/protocol/internal/stream.ts";
import { testKeys } from "#test/support/edge-keys.ts";
import { call } from "./edge-client.ts";
import { FakeCells, contentFrames, doneFrame, outcomeOf, streamOf } from "./fake-cell.ts";

const chat = "/v1/chat/completions";
const messages = [{ role: "user", content: "Say hello" }];

/** A cell whose stream goes on by hand, and that sees when its reader goes. */
class SlowCell {
  readonly cells = new FakeCells();
  readonly cancelled = Promise.withResolvers<void>();
  #controller: ReadableStreamDefaultController<Uint8Array> | null = null;

  constructor() {
    this.cells.answers = () => {
      const body = new ReadableStream<Uint8Array>({
        start: (controller) => {
          this.#controller = controller;
        },
        cancel: () => this.cancelled.resolve(),
      });
      const headers = {
        "content-type": "text/event-stream",
        "x-meridian-shard": "eu-west-1a/llama-0",
      };
      return new Response(body, { headers });
    };
  }

  get turn() {
    const turn = this.cells.turns[0]?.turn;
    if (turn === null || turn === undefined) throw new Error("no turn was asked for");
    return turn;
  }

  send(...blocks: string[]): void {
    for (const block of blocks) this.#controller?.enqueue(new TextEncoder().encode(block));
  }

  close(): void {
    this.#controller?.close();
  }
}

let cell: SlowCell;

beforeEach(() => {
  cell = new SlowCell();
  vi.spyOn(globalThis, "fetch").mockImplementation(cell.cells.fetch);
});

afterEach(() => {
  vi.restoreAllMocks();
});

/** Begins a stream, reads its first frame, and goes. */
async function readOneFrameAndLeave(body: Record<string, unknown>) {
  const request = new Request(`http://eu.localhost${chat}`, {
    method: "POST",
    headers: { authorization: `Bearer ${testKeys.acme}`, "content-type": "application/json" },
    body: JSON.stringify({ model: "sim/llama", messages, stream: true, ...body }),
  });
  const context = createExecutionContext();
  const answering = worker.fetch(request as never, env, context);
  await vi.waitFor(() => cell.turn);
  cell.send(...contentFrames(cell.turn).slice(0, 1));
  const response = await answering;
  const reader = response.body?.getReader();
  const { value } = (await reader?.read()) ?? {};
  expect(new TextDecoder().decode(value)).toBe(contentFrames(cell.turn)[0]);
  await reader?.cancel();
  return { context, conversation: response.headers.get("x-meridian-conversation") ?? "" };
}

it("stops the cell's work on the stateless lane", async () => {
  const { context } = await readOneFrameAndLeave({});
  cell.send(...contentFrames(cell.turn).slice(1, 2));
  await cell.cancelled.promise;
  await waitOnExecutionContext(context);
  expect(cell.cells.turns).toHaveLength(1);
});

it("goes on with the turn on the durable lane, and stores its answer", async () => {
  const { context, conversation } = await readOneFrameAndLeave({ store: true });
  const { turn } = cell;
  cell.send(
    ...contentFrames(turn).slice(1),
    formatOutcomeBlock(JSON.stringify(outcomeOf(turn))),
    doneFrame(),
  );
  cell.close();
  await waitOnExecutionContext(context);
  const items = await call(`/v1/conversations/${conversation}/items?order=asc`);
  expect(items.json()["data"]).toMatchObject([{ role: "user" }, { role: "assistant" }]);
});

it("lets a repeat of a running request join its stream from the start, and generates once", async () => {
  const options = {
    body: { model: "sim/llama", messages, stream: true },
    headers: { "idempotency-key": "join" },
  };
  const joined = Promise.withResolvers<number>();
  cell.cells.frames = (afterSeq) => {
    joined.resolve(afterSeq);
    const outcome = formatOutcomeBlock(JSON.stringify(outcomeOf(cell.turn)));
    return streamOf([...contentFrames(cell.turn).slice(afterSeq), outcome, doneFrame()]);
  };
  const first = call(chat, options);
  await vi.waitFor(() => cell.turn);
  cell.send(...contentFrames(cell.turn));
  const second = call(chat, options);
  expect(await joined.promise).toBe(0);
  cell.send(formatOutcomeBlock(JSON.stringify(outcomeOf(cell.turn))), doneFrame());
  cell.close();
  const [one, two] = await Promise.all([first, second]);
  expect(one.text.endsWith("data: [DONE]\n\n")).toBe(true);
  expect(two.text).toBe(one.text);
  expect(cell.cells.turns).toHaveLength(1);
});
