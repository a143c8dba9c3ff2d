import type { DeltaEvent } from "../engine-event.ts";
import type { JsonValue } from "../json.ts";
import { isFields } from "./delivered-frames.ts";
import type { DeliveredFrame } from "./delivered-frames.ts";
import type { FramesRead } from "./read-chunks.ts";

/** Events that follow from others: the encoder makes them by itself when it is given the same pieces. */
const derived: ReadonlySet<string> = new Set([
  "response.created",
  "response.queued",
  "response.in_progress",
  "response.output_item.done",
  "response.content_part.added",
  "response.content_part.done",
  "response.output_text.done",
  "response.refusal.done",
  "response.reasoning_text.done",
  "response.function_call_arguments.done",
]);

function textDelta(
  field: "text" | "reasoning" | "refusal",
  fields: DeliveredFrame["fields"],
): DeltaEvent | null {
  const { delta: text, logprobs } = fields;
  if (typeof text !== "string") return null;
  const hasLogprobs = Array.isArray(logprobs) && logprobs.length > 0;
  return {
    kind: "delta",
    choice: 0,
    [field]: text,
    ...(hasLogprobs ? { logprobs: { content: logprobs } } : {}),
  };
}

/** Tool calls by the place of their item in the output. */
type Calls = Map<JsonValue | undefined, number>;

/** A call's first piece; null for an item that its own pieces open, `false` when it is none. */
function openedCall(fields: DeliveredFrame["fields"], calls: Calls): DeltaEvent | null | false {
  const { item, output_index: place } = fields;
  if (!isFields(item)) return false;
  if (item["type"] !== "function_call") return null;
  const { call_id: id, name } = item;
  if (typeof id !== "string" || typeof name !== "string") return false;
  const index = calls.size;
  calls.set(place, index);
  return { kind: "delta", choice: 0, toolCalls: [{ index, id, name }] };
}

function readEvent({ event, fields }: DeliveredFrame, calls: Calls): DeltaEvent | null | false {
  if (event === null || event !== fields["type"]) return false;
  if (derived.has(event)) return null;
  switch (event) {
    case "response.output_item.added":
      return openedCall(fields, calls);
    case "response.output_text.delta":
      return textDelta("text", fields) ?? false;
    case "response.reasoning_text.delta":
      return textDelta("reasoning", fields) ?? false;
    case "response.refusal.delta":
      return textDelta("refusal", fields) ?? false;
    case "response.function_call_arguments.delta": {
      const index = calls.get(fields["output_index"]);
      const { delta } = fields;
      if (index === undefined || typeof delta !== "string") return false;
      return { kind: "delta", choice: 0, toolCalls: [{ index, arguments: delta }] };
    }
    default:
      return false;
  }
}

/** Reads events of the Responses API; null when one is none, or one that ends a response. */
export function readResponseEvents(frames: readonly DeliveredFrame[]): FramesRead | null {
  const deltas: DeltaEvent[] = [];
  const calls: Calls = new Map();
  for (const frame of frames) {
    const delta = readEvent(frame, calls);
    if (delta === false) return null;
    if (delta !== null) deltas.push(delta);
  }
  return { deltas, usage: null };
}
