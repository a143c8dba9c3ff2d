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

/**
 * Feeds `sink` with what a server streams, read strictly and only as fast as the sink takes it. Null when the bytes ended
 * cleanly; whether the answer is whole is for the reader of the events to say. `onDone` is called once the answer has ended,
 * though the server may hold the stream open.
 */
export async function feedStream(
  chunks: AsyncIterable<Uint8Array>,
  { path, body }: StreamedCall,
  sink: EngineSink,
  onDone: () => void,
  reframing: Reframing = unchanged,
): Promise<ShardFailure | null> {
  const reader = createEngineStreamReader({ path, choices: choicesOf(path, body), model: null });
  const decode = createStrictDecoder();
  let isDone = false;
  try {
    for await (const chunk of chunks) {
      const text = decode(chunk);
      if (text === null) return { reason: "invalid", detail: "utf8" };
      const events = reader.push(reframing.push(text));
      sink.events(coalesce(events));
      if (!isDone && events.some(({ kind }) => kind === "done")) {
        isDone = true;
        onDone();
      }
      const room = sink.room();
      if (room !== null) await room;
    }
  } catch {
    return { reason: "cut" };
  }
  if (decode(null) === null) return { reason: "invalid", detail: "utf8" };
  sink.events(coalesce([...reader.push(reframing.end()), ...reader.end()]));
  return null;
}
