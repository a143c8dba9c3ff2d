import { IncomingMessage } from "node:http";
import { Socket } from "node:net";
import { setImmediate as turn } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import { feedMessage } from "#regional/backends/feed-stream.ts";
import type { EngineSink } from "#regional/ports/engine.ts";
import type { EngineEvent } from "#shared/protocol/engine-event.ts";

const call = { path: "chat/completions", body: {} } as const;
const piece = (text: string): string => `data: {"choices":[{"delta":{"content":"${text}"}}]}\n\n`;
const ending = 'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n';

function aMessage(): IncomingMessage {
  const message = new IncomingMessage(new Socket());
  message.on("error", () => {});
  return message;
}

function aSink(room: EngineSink["room"] = () => null) {
  const events: EngineEvent[] = [];
  const sink: EngineSink = {
    events: (added) => void events.push(...added),
    document: () => {},
    room,
  };
  return { sink, said: () => events.map((event) => ("text" in event ? event.text : event.kind)) };
}

describe("an answer that is read from its message", () => {
  it("is what came, and ends cleanly with it", async () => {
    const message = aMessage();
    const { said, sink } = aSink();
    let doneCount = 0;
    const fed = feedMessage(message, call, sink, () => (doneCount += 1));
    message.push(piece("a") + piece("b"));
    message.push(ending);
    message.push(null);
    expect(await fed).toBeNull();
    expect(said()).toEqual(["ab", "delta", "done"]);
    expect(doneCount).toBe(1);
  });

  it("is cut when its connection ends in the middle", async () => {
    const message = aMessage();
    const { sink } = aSink();
    const fed = feedMessage(message, call, sink, () => {});
    message.push(piece("a"));
    message.destroy();
    expect(await fed).toEqual({ reason: "cut" });
  });

  it("is cut when its connection had ended before it was read", async () => {
    const message = aMessage();
    message.destroy();
    await turn();
    expect(await feedMessage(message, call, aSink().sink, () => {})).toEqual({ reason: "cut" });
  });

  it("is not read on once its bytes are no text", async () => {
    const message = aMessage();
    const { said, sink } = aSink();
    const fed = feedMessage(message, call, sink, () => {});
    message.push(Buffer.from([0xff, 0xfe]));
    message.push(piece("a"));
    expect(await fed).toEqual({ reason: "invalid", detail: "utf8" });
    await turn();
    expect(said()).toEqual([]);
  });

  it("waits until there is room for more", async () => {
    const message = aMessage();
    const room = Promise.withResolvers<void>();
    let isFull = true;
    const { said, sink } = aSink(() => (isFull ? room.promise : null));
    const fed = feedMessage(message, call, sink, () => {});
    message.push(piece("a"));
    await turn();
    message.push(piece("b"));
    await turn();
    expect(said()).toEqual(["a"]);
    isFull = false;
    room.resolve();
    message.push(ending);
    message.push(null);
    expect(await fed).toBeNull();
    expect(said()).toEqual(["a", "b", "delta", "done"]);
  });
});
