import { errorBody } from "../../errors/gateway-error.ts";
import type { ErrorOutcome } from "../../errors/gateway-error.ts";
import type { ClientFrame } from "../internal/stream.ts";
import type { Api } from "../internal/turn-request.ts";
import { jsonText } from "./json-text.ts";

/**
 * The event that ends a begun stream with `error` where no encoder knows how far it is; `seq` is the frame's own. No
 * `[DONE]` and no completed event follows it.
 */
export function errorFrame(api: Api, error: ErrorOutcome, seq: number): ClientFrame {
  const body = errorBody(error);
  if (api !== "responses") return { event: null, data: jsonText(body) };
  const { code, message, param } = body.error;
  return {
    event: "error",
    // The sequence number is the frame's seq less one: OpenAI counts from 0.
    data: jsonText({ type: "error", sequence_number: seq - 1, code, message, param }),
  };
}
