import { errorBody } from "#shared/errors/gateway-error.ts";
import type { ErrorOutcome } from "#shared/errors/gateway-error.ts";
import { formatClientFrame } from "#shared/protocol/internal/stream.ts";
import type { ClientFrame } from "#shared/protocol/internal/stream.ts";
import type { Api } from "#shared/protocol/internal/turn-request.ts";

/** The error event of a stream that the edge itself must end. No `[DONE]` and no completed event follows it. */
function errorFrame(api: Api, error: ErrorOutcome, seq: number): ClientFrame {
  const body = errorBody(error);
  if (api !== "responses") return { event: null, data: JSON.stringify(body) };
  const { code, message, param } = body.error;
  return {
    event: "error",
    // The sequence number is the frame's seq less one: OpenAI counts from 0.
    data: JSON.stringify({ type: "error", sequence_number: seq - 1, code, message, param }),
  };
}

const encoder = new TextEncoder();

/** Bytes that end a begun stream with `error`; a frame that is in no journal has no id to resume after. */
export function renderErrorFrames(
  api: Api,
  error: ErrorOutcome,
  fromSeq: number,
  isJournaled: boolean,
): { readonly bytes: Uint8Array; readonly toSeq: number } {
  const frame = errorFrame(api, error, fromSeq);
  const text = formatClientFrame(fromSeq, frame);
  return {
    bytes: encoder.encode(isJournaled ? text : text.slice(text.indexOf("\n") + 1)),
    toSeq: fromSeq,
  };
}
