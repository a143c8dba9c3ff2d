import type { DeltaEvent, ToolCallDelta } from "../engine-event.ts";
import type { JsonValue } from "../json.ts";
import { readUsage } from "../engine/read-usage.ts";
import type { Usage } from "../usage.ts";
import { isFields } from "./delivered-frames.ts";
import type { DeliveredFrame } from "./delivered-frames.ts";

type Writable<T> = { -readonly [Key in keyof T]: T[Key] };

/** What frames say of an answer; usage only where a frame carried it. */
export interface FramesRead {
  readonly deltas: readonly DeltaEvent[];
  readonly usage: Usage | null;
}

function addText(
  delta: Writable<DeltaEvent>,
  field: "text" | "reasoning" | "refusal",
  value: JsonValue | undefined,
): void {
  if (typeof value === "string" && value !== "") delta[field] = value;
}

function toolCallsOf(value: JsonValue | undefined): readonly ToolCallDelta[] {
  if (!Array.isArray(value)) return [];
  return value.flatMap((call): readonly ToolCallDelta[] => {
    if (!isFields(call) || typeof call["index"] !== "number") return [];
    const { index, id, function: called } = call;
    const piece: Writable<ToolCallDelta> = { index };
    if (typeof id === "string") piece.id = id;
    if (isFields(called)) {
      if (typeof called["name"] === "string") piece.name = called["name"];
      if (typeof called["arguments"] === "string") piece.arguments = called["arguments"];
    }
    return [piece];
  });
}

function readChoice(
  api: "chat" | "completions",
  choice: DeliveredFrame["fields"],
): DeltaEvent | null {
  const { index, logprobs, finish_reason: finishReason } = choice;
  if (typeof index !== "number") return null;
  const delta: Writable<DeltaEvent> = { kind: "delta", choice: index };
  if (api === "completions") addText(delta, "text", choice["text"]);
  else {
    const message = choice["delta"];
    if (!isFields(message)) return null;
    // The opening frame of a choice: the encoder makes it by itself.
    if (message["role"] !== undefined) return delta;
    addText(delta, "text", message["content"]);
    addText(delta, "reasoning", message["reasoning_content"]);
    addText(delta, "refusal", message["refusal"]);
    const toolCalls = toolCallsOf(message["tool_calls"]);
    if (toolCalls.length > 0) delta.toolCalls = toolCalls;
  }
  if (logprobs !== undefined && logprobs !== null) delta.logprobs = logprobs;
  if (typeof finishReason === "string") delta.finishReason = finishReason;
  return delta;
}

/** Reads chunks of chat completions and completions; null when one is none. */
export function readChunks(
  api: "chat" | "completions",
  frames: readonly DeliveredFrame[],
): FramesRead | null {
  const deltas: DeltaEvent[] = [];
  let usage: Usage | null = null;
  for (const { fields } of frames) {
    const { choices } = fields;
    if (!Array.isArray(choices) || choices.length > 1) return null;
    const [choice] = choices;
    if (choice === undefined) {
      usage = readUsage(fields["usage"]);
      if (usage === null) return null;
      continue;
    }
    const delta = isFields(choice) ? readChoice(api, choice) : null;
    if (delta === null) return null;
    if (Object.keys(delta).length > 2) deltas.push(delta);
  }
  return { deltas, usage };
}
