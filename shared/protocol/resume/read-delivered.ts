import type { DeltaEvent } from "../engine-event.ts";
import { createEncoder } from "../encoders/create-encoder.ts";
import { formatClientFrame } from "../internal/stream.ts";
import type { Rendering } from "../internal/turn-request.ts";
import type { Usage } from "../usage.ts";
import { readFrames } from "./delivered-frames.ts";
import { readChunks } from "./read-chunks.ts";
import { readResponseEvents } from "./read-response-events.ts";

/** What a client was given of an answer, as the engine's pieces that lead to the same frames. */
export interface DeliveredAnswer {
  readonly deltas: readonly DeltaEvent[];
  /** From a usage chunk that was delivered; null when none was. */
  readonly usage: Usage | null;
}

/**
 * Reads the frames 1..toSeq of a client's stream back into the pieces that they were made of, and checks that a fresh encoder
 * makes the same bytes of them. Frames at the end that these pieces do not make follow from what comes next: the rest of
 * what one piece opened, or the end of the answer. Pieces may make frames beyond `toSeq` when a connection broke between
 * those of one piece. Null when the frames cannot be made again: another version's, or damaged. Linear in their length.
 */
export function readDelivered(
  rendering: Rendering,
  choiceCount: number,
  frames: string,
  toSeq: number,
): DeliveredAnswer | null {
  const { api } = rendering;
  const read = readFrames(frames, toSeq);
  if (read === null || api === "embeddings") return null;
  const delivered = api === "responses" ? readResponseEvents(read) : readChunks(api, read);
  if (delivered === null) return null;
  const encoder = createEncoder(rendering, choiceCount);
  const again = [...encoder.open(), ...delivered.deltas.flatMap((delta) => encoder.delta(delta))];
  const text = again
    .slice(0, toSeq)
    .map((frame, index) => formatClientFrame(index + 1, frame))
    .join("");
  return frames.startsWith(text) ? delivered : null;
}
