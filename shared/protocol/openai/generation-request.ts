import type { Capability } from "../../config/topology.ts";
import type { ErrorOutcome } from "../../errors/gateway-error.ts";
import type { JsonObject } from "../json.ts";

/** A checked request, or the refusal that the client gets; never an exception. */
export type ParseResult<T> =
  | { readonly ok: true; readonly request: T }
  | { readonly ok: false; readonly error: ErrorOutcome };

/** What every request that runs on an engine has in common, whichever API it came through. */
export interface GenerationRequest {
  /** The model as the client named it; whether the jurisdiction serves it is decided elsewhere. */
  readonly model: string;
  readonly stream: boolean;
  /** `stream_options.include_usage`; false when not streamed. */
  readonly includeUsage: boolean;
  /** How many choices the engine answers with, 1–128; for completions prompts × n. */
  readonly choices: number;
  /** Upper bound of the answer's tokens per choice, 1 or more; null when the client gave none. */
  readonly completionTokensMax: number | null;
  /** `store`: false by default for chat, completions and embeddings, true for responses. */
  readonly isStored: boolean;
  /** At most 16 pairs, keys of 64 and values of 512 characters. */
  readonly metadata: Readonly<Record<string, string>>;
  readonly promptCacheKey: string | null;
  /** `safety_identifier`, else `user`: the tenant's own name for its end user. Never leaves for an engine. */
  readonly userKey: string | null;
  /** What the model must be able to do. */
  readonly capabilities: readonly Capability[];
  /**
   * What goes to the engine: the client's fields, unknown ones included, without `model`, without what the gateway owns,
   * without nulls; for chat and responses in chat's names and without `messages`.
   */
  readonly engineBody: JsonObject;
  /** Estimated from the text, with 765 per image, of what this request carries (not of a stored history). Never for a bill. */
  readonly promptTokensEstimate: number;
  /** The first 1,024 characters of the prompt, for the keyed hash by which prompts with a shared prefix meet. */
  readonly affinityText: string;
  readonly hasImages: boolean;
}

/** `POST /v1/chat/completions`. */
export interface ChatRequest extends GenerationRequest {
  /** As the client sent them, checked. An engine gets them through `toEngineMessages` (items.ts). */
  readonly messages: readonly JsonObject[];
}

/** `POST /v1/completions`; `prompt` stands in `engineBody`. */
export type CompletionsRequest = GenerationRequest;

/** `POST /v1/embeddings`; `input` stands in `engineBody`. Never streamed, never stored. */
export type EmbeddingsRequest = GenerationRequest;

/** The types of items that a history holds; `custom_tool_call` comes only from chat messages. */
export type ItemType =
  | "message"
  | "function_call"
  | "custom_tool_call"
  | "function_call_output"
  | "reasoning";

/** An item as a client sent it, checked and in one form: content is a list of parts, `type` is set, ids are left out. */
export type NewItem = JsonObject & { readonly type: ItemType };

/** Stands for an item of an earlier answer; the AI SDK sends these. Replaced by `resolveItemReferences`. */
export interface ItemReference {
  readonly type: "item_reference";
  readonly id: string;
}

/** `POST /v1/responses`. */
export interface ResponsesRequest extends GenerationRequest {
  /** `input`; a string is one user message. `resolveItemReferences` (items.ts) makes them `NewItem`s. */
  readonly items: readonly (NewItem | ItemReference)[];
  readonly instructions: string | null;
  readonly previousResponseId: string | null;
  readonly conversationId: string | null;
  /** Runs without its client; `isStored` is then true. */
  readonly background: boolean;
  readonly truncation: "auto" | "disabled";
  /** Request fields that the response object repeats, with OpenAI's defaults. */
  readonly echo: JsonObject;
}

/** `POST /v1/conversations`. */
export interface ConversationCreateRequest {
  readonly metadata: Readonly<Record<string, string>>;
  /** At most 20. */
  readonly items: readonly NewItem[];
}

/** `POST /v1/conversations/{id}`: replaces the metadata. */
export interface ConversationUpdateRequest {
  readonly metadata: Readonly<Record<string, string>>;
}

/** `POST /v1/conversations/{id}/items`: 1–20 items. */
export interface ItemsCreateRequest {
  readonly items: readonly NewItem[];
}

/** `GET /v1/conversations/{id}/items` and `GET /v1/responses/{id}/input_items`. */
export interface ListItemsQuery {
  /** Item id to start after, exclusive. */
  readonly after: string | null;
  /** 1–100, 20 by default. */
  readonly limit: number;
  /** `desc` by default. */
  readonly order: "asc" | "desc";
}
