import type { DeltaEvent } from "../engine-event.ts";
import { createEncoder } from "../encoders/create-encoder.ts";
import type { TurnEncoder } from "../encoder.ts";
import { formatClientFrame } from "../internal/stream.ts";
import type { ClientFrame } from "../internal/stream.ts";
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

const noUsage: Usage = {
  promptTokens: 0,
  completionTokens: 0,
  cachedTokens: 0,
  reasoningTokens: 0,
};

/** An index that no engine's tool call has (`toolCallsMax`). */
const unusedToolIndex = 1_000_000;

/** Every way in which the events of a response can go on between two pieces that show in events of their own. */
const goingOn: readonly ((encoder: TurnEncoder) => readonly ClientFrame[])[] = [
  (encoder) => encoder.delta({ kind: "delta", choice: 0, reasoning: "" }),
  (encoder) => encoder.delta({ kind: "delta", choice: 0, text: "" }),
  (encoder) => encoder.delta({ kind: "delta", choice: 0, refusal: "" }),
  (encoder) => encoder.delta({ kind: "delta", choice: 0, toolCalls: [{ index: unusedToolIndex }] }),
  ...["stop", "length"].map((finishReason) => (encoder: TurnEncoder) => [
    ...encoder.delta({ kind: "delta", choice: 0, finishReason }),
    ...encoder.finish(noUsage).frames,
  ]),
];

/**
 * Reads the frames 1..toSeq of a client's stream back into the pieces that they were made of, and checks that a fresh encoder
 * makes the same bytes of them. Frames at the end that these pieces do not make (the usage chunk; of a response, what one
 * piece opened or the end of the answer) are checked against every way in which an encoder can go on. Pieces may make
 * frames beyond `toSeq` when a connection broke between those of one piece. Null when the frames cannot be made again:
 * another version's, or damaged. Linear in their length.
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
  const { deltas, usage } = delivered;
  if (deltas.some(({ choice }) => choice < 0 || choice >= choiceCount)) return null;

  function isMadeWith(goOn: (encoder: TurnEncoder) => readonly ClientFrame[]): boolean {
    const encoder = createEncoder(rendering, choiceCount);
    const again = [...encoder.open(), ...deltas.flatMap((delta) => encoder.delta(delta))];
    const whole = again.length < toSeq ? [...again, ...goOn(encoder)] : again;
    const text = whole
      .slice(0, toSeq)
      .map((frame, index) => formatClientFrame(index + 1, frame))
      .join("");
    return text === frames;
  }

  const ways =
    api === "responses"
      ? goingOn
      : [(encoder: TurnEncoder) => (usage === null ? [] : encoder.finish(usage).frames)];
  return ways.some(isMadeWith) ? delivered : null;
}
