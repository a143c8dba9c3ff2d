import type { DeltaEvent, ToolCallDelta } from "../engine-event.ts";
import { isAbsent, isCount, isFields, isShallow, textOf, tokenIdsOf } from "./fields.ts";
import type { Fields } from "./fields.ts";

type Writable<T> = { -readonly [Key in keyof T]: T[Key] };

/** Tool calls of one choice: as many as openai-node reads (ChatCompletionStream, MAX_STREAM_TOOL_CALLS). */
export const toolCallsMax = 128;

/** Log probabilities are lists of objects that hold lists of objects; anything deeper is an attack on the stack. */
const logprobsDepthMax = 8;

function readToolCall(entry: unknown): ToolCallDelta | null {
  if (!isFields(entry)) return null;
  const { index, function: called } = entry;
  if (!isCount(index) || index >= toolCallsMax) return null;
  if (!isAbsent(called) && !isFields(called)) return null;
  const id = textOf(entry["id"]);
  const name = textOf(called?.["name"]);
  const text = textOf(called?.["arguments"]);
  if (id === false || name === false || text === false) return null;
  const call: Writable<ToolCallDelta> = { index };
  if (id !== undefined) call.id = id;
  if (name !== undefined) call.name = name;
  if (text !== undefined) call.arguments = text;
  return call;
}

/** Adds the pieces of tool calls to `delta`; false when one is misshapen. */
function addToolCalls(delta: Writable<DeltaEvent>, value: unknown): boolean {
  if (isAbsent(value)) return true;
  if (!Array.isArray(value)) return false;
  const calls: ToolCallDelta[] = [];
  for (const entry of value) {
    const call = readToolCall(entry);
    if (call === null) return false;
    calls.push(call);
  }
  if (calls.length > 0) delta.toolCalls = calls;
  return true;
}

/** Adds what only a chat delta has; false when it is misshapen. */
function addMessage(delta: Writable<DeltaEvent>, message: Fields): boolean {
  const text = textOf(message["content"]);
  const reasoning = textOf(message["reasoning"] ?? message["reasoning_content"]);
  const refusal = textOf(message["refusal"]);
  if (text === false || reasoning === false || refusal === false) return false;
  if (text !== undefined) delta.text = text;
  if (reasoning !== undefined) delta.reasoning = reasoning;
  if (refusal !== undefined) delta.refusal = refusal;
  return addToolCalls(delta, message["tool_calls"]);
}

/**
 * One entry of a chunk's `choices` as a delta, or null when it is misshapen or none of the `choices` asked for. Empty
 * fields are left out, so that role chunks become deltas that say nothing. A chat choice must have a `delta`, a
 * completions choice a `text`: an answer of another shape would otherwise pass as an empty one.
 */
export function readChoice(
  path: "chat/completions" | "completions",
  choices: number,
  choice: unknown,
): DeltaEvent | null {
  if (!isFields(choice)) return null;
  const index = choice["index"] ?? (choices === 1 ? 0 : undefined);
  if (!isCount(index) || index >= choices) return null;
  const delta: Writable<DeltaEvent> = { kind: "delta", choice: index };
  if (path === "completions") {
    const text = textOf(choice["text"]);
    if (text === false || choice["text"] === undefined) return null;
    if (text !== undefined) delta.text = text;
  } else {
    const message = choice["delta"];
    if (message !== null && (!isFields(message) || !addMessage(delta, message))) return null;
  }
  const tokenIds = tokenIdsOf(choice["token_ids"]);
  if (tokenIds === false) return null;
  if (tokenIds !== undefined) delta.tokenIds = tokenIds;
  const { logprobs, finish_reason: finishReason } = choice;
  if (!isAbsent(logprobs)) {
    if (!isFields(logprobs) || !isShallow(logprobs, logprobsDepthMax)) return null;
    delta.logprobs = logprobs;
  }
  if (!isAbsent(finishReason)) {
    if (typeof finishReason !== "string" || finishReason === "") return null;
    delta.finishReason = finishReason;
  }
  return delta;
}

/** Whether a delta carries anything but a finish reason. */
export function hasContent(delta: DeltaEvent): boolean {
  return (
    delta.text !== undefined ||
    delta.reasoning !== undefined ||
    delta.refusal !== undefined ||
    delta.toolCalls !== undefined ||
    delta.logprobs !== undefined ||
    delta.tokenIds !== undefined
  );
}
