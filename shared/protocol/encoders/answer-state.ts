import type { DeltaEvent } from "../engine-event.ts";
import type { JsonValue } from "../json.ts";

/** A tool call as it has come so far. */
export interface ToolCallState {
  readonly index: number;
  id: string;
  name: string;
  arguments: string;
}

/** One choice as it has come so far. */
export interface ChoiceState {
  text: string;
  reasoning: string;
  refusal: string;
  readonly toolCalls: ToolCallState[];
  readonly logprobs: JsonValue[];
  finishReason: string | null;
}

export function emptyChoice(): ChoiceState {
  return { text: "", reasoning: "", refusal: "", toolCalls: [], logprobs: [], finishReason: null };
}

/** The id of a tool call whose engine gave none: the same for the same turn and place, whichever shard ran it. */
export function toolCallId(itemIdStem: string, choice: number, index: number): string {
  return `call_${itemIdStem}${choice}x${index}`;
}

/** Adds a piece to its choice. Tool calls are made on their first piece and found again by index. */
export function addDelta(state: ChoiceState, event: DeltaEvent, itemIdStem: string): void {
  if (event.text !== undefined) state.text += event.text;
  if (event.reasoning !== undefined) state.reasoning += event.reasoning;
  if (event.refusal !== undefined) state.refusal += event.refusal;
  if (event.logprobs !== undefined) state.logprobs.push(event.logprobs);
  if (event.finishReason !== undefined) state.finishReason = event.finishReason;
  for (const piece of event.toolCalls ?? []) {
    let call = state.toolCalls.find((other) => other.index === piece.index);
    if (call === undefined) {
      call = {
        index: piece.index,
        id: piece.id ?? toolCallId(itemIdStem, event.choice, piece.index),
        name: "",
        arguments: "",
      };
      state.toolCalls.push(call);
    }
    if (piece.name !== undefined) call.name += piece.name;
    if (piece.arguments !== undefined) call.arguments += piece.arguments;
  }
}

function isRecord(
  value: JsonValue | undefined,
): value is { readonly [key: string]: JsonValue | undefined } {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Log probabilities of all pieces as one object: arrays of the same name are joined; null when there were none. */
export function joinLogprobs(pieces: readonly JsonValue[]): JsonValue {
  if (pieces.length === 0) return null;
  const joined = new Map<string, JsonValue>();
  for (const piece of pieces) {
    if (!isRecord(piece)) continue;
    for (const [key, value] of Object.entries(piece)) {
      const before = joined.get(key);
      if (Array.isArray(value) && Array.isArray(before)) joined.set(key, [...before, ...value]);
      else if (value !== undefined && value !== null) joined.set(key, value);
      else if (before === undefined) joined.set(key, null);
    }
  }
  return Object.fromEntries(joined);
}
