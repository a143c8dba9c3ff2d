import { createEncoder } from "#shared/protocol/encoders/create-encoder.ts";
import type { EncodedAnswer } from "#shared/protocol/encoder.ts";
import type { DeltaEvent, ToolCallDelta } from "#shared/protocol/engine-event.ts";
import { formatClientFrame } from "#shared/protocol/internal/stream.ts";
import type { ClientFrame } from "#shared/protocol/internal/stream.ts";
import type { Rendering } from "#shared/protocol/internal/turn-request.ts";
import type { Usage } from "#shared/protocol/usage.ts";

export const aUsage: Usage = {
  promptTokens: 7,
  completionTokens: 5,
  cachedTokens: 2,
  reasoningTokens: 1,
};

export function aRendering(overrides: Partial<Rendering> = {}): Rendering {
  return {
    api: "chat",
    stream: true,
    includeUsage: true,
    publicId: "chatcmpl_1",
    createdAtSeconds: 1_700_000_000,
    model: "sim/llama",
    itemIdStem: "stem",
    echo: {},
    ...overrides,
  };
}

export function says(text: string, choice = 0): DeltaEvent {
  return { kind: "delta", choice, text };
}

export function thinks(reasoning: string): DeltaEvent {
  return { kind: "delta", choice: 0, reasoning };
}

export function refuses(refusal: string): DeltaEvent {
  return { kind: "delta", choice: 0, refusal };
}

export function calls(...toolCalls: readonly ToolCallDelta[]): DeltaEvent {
  return { kind: "delta", choice: 0, toolCalls };
}

export function ends(finishReason = "stop", choice = 0): DeltaEvent {
  return { kind: "delta", choice, finishReason };
}

/** A whole answer: all its frames in order, and what its end says. */
export function encode(
  rendering: Rendering,
  deltas: readonly DeltaEvent[],
  choices = 1,
): { readonly frames: readonly ClientFrame[]; readonly answer: EncodedAnswer } {
  const encoder = createEncoder(rendering, choices);
  const frames = [...encoder.open(), ...deltas.flatMap((delta) => encoder.delta(delta))];
  const answer = encoder.finish(aUsage);
  return { frames: [...frames, ...answer.frames, ...answer.terminal], answer };
}

/** What a client reads from its connection. */
export function streamText(frames: readonly ClientFrame[]): string {
  return frames.map((frame, index) => formatClientFrame(index + 1, frame)).join("");
}

/** A parsed frame, as loose as a test wants it. */
export type Parsed = Readonly<Record<string, unknown>>;

/** The JSON of each frame but `[DONE]`. */
export function parseFrames(frames: readonly ClientFrame[]): readonly Parsed[] {
  return frames
    .filter(({ data }) => data !== "[DONE]")
    .map(({ data }) => JSON.parse(data) as Parsed);
}
