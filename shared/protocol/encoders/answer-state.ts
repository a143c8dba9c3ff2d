import { isFields } from "../engine/fields.ts";
import type { DeltaEvent, ToolCallDelta } from "../engine-event.ts";
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
function toolCallId(itemIdStem: string, choice: number, index: number): string {
  return `call_${itemIdStem}${choice}x${index}`;
}

/**
 * The id that clients see of a tool call: the engine's, unless it gave none or one that another of the answer's calls
 * (`others`) has, to which a tool's output could then not be told to belong.
 */
export function chooseToolCallId(
  piece: ToolCallDelta,
  others: readonly { readonly id: string }[],
  itemIdStem: string,
  choice: number,
): string {
  const { id, index } = piece;
  const isUsable = id !== undefined && !others.some((other) => other.id === id);
  return isUsable ? id : toolCallId(itemIdStem, choice, index);
}

/** Adds a piece of a tool call to its choice: `isFirst` when it is the call's first. */
export function addToolCallPiece(
  state: ChoiceState,
  choice: number,
  piece: ToolCallDelta,
  itemIdStem: string,
): { readonly call: ToolCallState; readonly isFirst: boolean } {
  let call = state.toolCalls.find((other) => other.index === piece.index);
  const isFirst = call === undefined;
  if (call === undefined) {
    const id = chooseToolCallId(piece, state.toolCalls, itemIdStem, choice);
    call = { index: piece.index, id, name: "", arguments: "" };
    state.toolCalls.push(call);
  }
  if (piece.name !== undefined) call.name += piece.name;
  if (piece.arguments !== undefined) call.arguments += piece.arguments;
  return { call, isFirst };
}

/** Adds everything of a piece but its tool calls to its choice. */
export function addContent(state: ChoiceState, event: DeltaEvent): void {
  if (event.text !== undefined) state.text += event.text;
  if (event.reasoning !== undefined) state.reasoning += event.reasoning;
  if (event.refusal !== undefined) state.refusal += event.refusal;
  if (event.logprobs !== undefined) state.logprobs.push(event.logprobs);
  if (event.finishReason !== undefined) state.finishReason = event.finishReason;
}

/**
 * Log probabilities of all pieces as one object: lists of the same name are joined, of other values the last counts; null
 * when there were none. Linear in the pieces.
 */
export function joinLogprobs(pieces: readonly JsonValue[]): JsonValue {
  if (pieces.length === 0) return null;
  const joined = new Map<string, JsonValue>();
  const lists = new Map<string, JsonValue[]>();
  for (const piece of pieces) {
    if (!isFields(piece)) continue;
    for (const [key, value] of Object.entries(piece)) {
      if (Array.isArray(value)) {
        const list = lists.get(key) ?? [];
        for (const entry of value) list.push(entry);
        lists.set(key, list);
        joined.set(key, list);
      } else if (value !== undefined && value !== null) joined.set(key, value);
      else if (!joined.has(key)) joined.set(key, null);
    }
  }
  return Object.fromEntries(joined);
}
