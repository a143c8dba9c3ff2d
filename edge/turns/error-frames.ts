import type { ErrorOutcome } from "#shared/errors/gateway-error.ts";
import { errorFrame } from "#shared/protocol/encoders/error-frame.ts";
import { formatClientFrame } from "#shared/protocol/internal/stream.ts";
import type { Api } from "#shared/protocol/internal/turn-request.ts";

const encoder = new TextEncoder();

/** Bytes that end a begun stream with `error`; a frame that is in no journal has no id to resume after. */
export function renderErrorFrames(
  api: Api,
  error: ErrorOutcome,
  fromSeq: number,
  isJournaled: boolean,
): { readonly bytes: Uint8Array; readonly toSeq: number } {
  const text = formatClientFrame(fromSeq, errorFrame(api, error, fromSeq));
  return {
    bytes: encoder.encode(isJournaled ? text : text.slice(text.indexOf("\n") + 1)),
    toSeq: fromSeq,
  };
}
