import type { JsonValue } from "./json.ts";
import type { Usage } from "./usage.ts";

/** One piece of a tool call as an engine streams it; pieces with one `index` belong together. */
export interface ToolCallDelta {
  readonly index: number;
  readonly id?: string;
  readonly name?: string;
  readonly arguments?: string;
}

/** One piece of one choice. */
export interface DeltaEvent {
  readonly kind: "delta";
  /** 0 ≤ choice < n. */
  readonly choice: number;
  readonly text?: string;
  /** `reasoning` or `reasoning_content` of the engine. */
  readonly reasoning?: string;
  readonly refusal?: string;
  readonly toolCalls?: readonly ToolCallDelta[];
  /** Log probabilities as the engine gives them. */
  readonly logprobs?: JsonValue;
  readonly tokenIds?: readonly number[];
  /** Set once per choice, on its last piece. */
  readonly finishReason?: string;
  /** How many pieces of the engine this one is made of; absent: one. */
  readonly pieces?: number;
}

/** What is wrong with an engine's answer: it counts against the shard and never reaches a client as success. */
export type InvalidReason =
  | "contentType"
  | "utf8"
  | "sse"
  | "json"
  | "shape"
  | "errorChunk"
  | "noFinishReason"
  | "noDone"
  | "afterDone"
  | "lineTooLong"
  | "wrongModel"
  | "tooLong"
  | "empty";

/** What an engine's stream says, after strict reading. */
export type EngineEvent =
  | DeltaEvent
  | { readonly kind: "usage"; readonly usage: Usage }
  | { readonly kind: "promptTokenIds"; readonly tokenIds: readonly number[] }
  /** `data: [DONE]` after a finish reason for every choice. */
  | { readonly kind: "done" }
  | { readonly kind: "invalid"; readonly reason: InvalidReason };
