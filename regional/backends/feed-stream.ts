import type { IncomingMessage } from "node:http";
import { choicesOf } from "#shared/conversation/turn-choices.ts";
import type { ShardFailure } from "#shared/conversation/turn-failure.ts";
import { coalesce } from "#shared/protocol/engine/coalesce.ts";
import { createEngineStreamReader } from "#shared/protocol/engine-stream.ts";
import type { JsonObject } from "#shared/protocol/json.ts";
import type { EngineSink } from "../ports/engine.ts";
import { createStrictDecoder } from "./strict-decoder.ts";

/** A generation that was asked for. */
export interface StreamedCall {
  readonly path: "chat/completions" | "completions";
  readonly body: JsonObject;
}

/** Makes SSE of what a server sends in its place; pieces may be cut anywhere. */
export interface Reframing {
  push(text: string): string;
  /** What a clean end stands for. */
  end(): string;
}

const unchanged: Reframing = { push: (text) => text, end: () => "" };
const notUtf8: ShardFailure = { reason: "invalid", detail: "utf8" };

interface Feeder {
  /** The failure of a chunk that cannot be read. */
  push(chunk: Uint8Array): ShardFailure | null;
  end(): ShardFailure | null;
}

function createFeeder(
  { path, body }: StreamedCall,
  sink: EngineSink,
  onDone: () => void,
  reframing: Reframing,
): Feeder {
  const reader = createEngineStreamReader({ path, choices: choicesOf(path, body), model: null });
  const decode = createStrictDecoder();
  let isDone = false;
  return {
    push(chunk) {
      const text = decode(chunk);
      if (text === null) return notUtf8;
      const events = reader.push(reframing.push(text));
      sink.events(coalesce(events));
      if (isDone || !events.some(({ kind }) => kind === "done")) return null;
      isDone = true;
      onDone();
      return null;
    },
    end() {
      if (decode(null) === null) return notUtf8;
      sink.events(coalesce([...reader.push(reframing.end()), ...reader.end()]));
      return null;
    },
  };
}

/**
 * Feeds `sink` with what a server streams, read strictly and only as fast as the sink takes it. Null when the bytes ended
 * cleanly; whether the answer is whole is for the reader of the events to say. `onDone` is called once the answer has ended,
 * though the server may hold the stream open.
 */
export async function feedStream(
  chunks: AsyncIterable<Uint8Array>,
  call: StreamedCall,
  sink: EngineSink,
  onDone: () => void,
  reframing: Reframing = unchanged,
): Promise<ShardFailure | null> {
  const feeder = createFeeder(call, sink, onDone, reframing);
  try {
    for await (const chunk of chunks) {
      const failure = feeder.push(chunk);
      if (failure !== null) return failure;
      const room = sink.room();
      if (room !== null) await room;
    }
  } catch {
    return { reason: "cut" };
  }
  return feeder.end();
}

/** The same from a message's events: an iterator of a stream costs more than the chunk that most answers are. */
export function feedMessage(
  message: IncomingMessage,
  call: StreamedCall,
  sink: EngineSink,
  onDone: () => void,
): Promise<ShardFailure | null> {
  const feeder = createFeeder(call, sink, onDone, unchanged);
  return new Promise((resolve) => {
    // What has ended before it was listened to says nothing more.
    if (message.destroyed) resolve({ reason: "cut" });
    message.on("data", (chunk: Uint8Array) => {
      const failure = feeder.push(chunk);
      if (failure !== null) {
        message.pause();
        return resolve(failure);
      }
      const room = sink.room();
      if (room === null) return;
      message.pause();
      void room.then(() => message.resume());
    });
    message.on("end", () => resolve(feeder.end()));
    message.on("close", () => resolve({ reason: "cut" }));
  });
}
