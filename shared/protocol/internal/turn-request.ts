import * as z from "zod";
import { priorities } from "../../config/topology.ts";
import type { Priority } from "../../config/topology.ts";
import type {
  CellId,
  ConversationId,
  Jurisdiction,
  ShardId,
  TenantId,
  TurnId,
} from "../../residency/brands.ts";
import type { JsonObject } from "../json.ts";

/** What the client asked with, and therefore how the answer is rendered. */
export type Api = "chat" | "completions" | "embeddings" | "responses";

/** How the cell renders the answer: the client's protocol, its ids, and what the protocol echoes. */
export interface Rendering {
  readonly api: Api;
  readonly stream: boolean;
  /** `stream_options.include_usage` of chat completions and completions. Responses always carry usage. */
  readonly includeUsage: boolean;
  /** The id that the client sees: `chatcmpl_…`, `cmpl_…`, `resp_…`. */
  readonly publicId: string;
  readonly createdAtSeconds: number;
  /** The model name that the client asked for and sees again. */
  readonly model: string;
  /** Item ids are `<msg|fc|rs>_<itemIdStem>_<n>`, so that a continued turn names its items alike. Letters and digits. */
  readonly itemIdStem: string;
  /** Responses only: request fields that the response object repeats (instructions, metadata, tools, text, …). */
  readonly echo: JsonObject;
}

/** Where a prompt would like to run. */
export interface AffinityHint {
  /** The conversation's home shard; null on the stateless lane and on a first turn. */
  readonly homeShard: ShardId | null;
  /** A keyed hash that prompts with a shared prefix have in common; 32 base-62 characters. */
  readonly key: string;
}

/**
 * What the client was given of the turn by earlier attempts. The answer goes on from there: the cell renders the same frames
 * again from what they say, sends none of them, and goes on at `toSeq + 1`.
 */
export interface TurnResume {
  /** The client's frames 1..toSeq, byte for byte. */
  readonly frames: string;
  readonly toSeq: number;
  /** Tokens that these frames hold beyond one for each piece, as far as their cell told. */
  readonly surplusTokens: number;
  /** How often the answer was continued before this attempt, this attempt included. */
  readonly continuations: number;
}

/**
 * Edge → cell: `PUT /internal/turns/{turnId}?attempt=n`. Idempotent by (turnId, attempt): the second delivery joins the
 * running turn. A lower (incarnation, attempt) than one seen before is refused.
 */
export interface TurnRequest {
  readonly v: 1;
  readonly turnId: TurnId;
  readonly lane: "stateless" | "durable";
  readonly tenant: TenantId;
  readonly jurisdiction: Jurisdiction;
  readonly cell: CellId;
  /** Null on the stateless lane. */
  readonly conversationId: ConversationId | null;
  readonly incarnation: number;
  readonly attempt: number;
  readonly requestId: string;
  readonly priority: Priority;
  /** Absolute, ms since the epoch; nothing is begun after it. */
  readonly deadlineMs: number;
  readonly affinity: AffinityHint;
  readonly rendering: Rendering;
  readonly engine: EngineRequest;
  /** Null while the client has been given nothing. */
  readonly resume: TurnResume | null;
  /** How many cells were tried before this one in the same attempt; a hop that was retried is not retried again. */
  readonly hop: number;
}

/** The request for the engine, in OpenAI's shape; the cell adds `model`, `stream`, salts and engine extensions. */
export interface EngineRequest {
  readonly path: "chat/completions" | "completions" | "embeddings";
  /** Model of the topology, as the client asked for it. */
  readonly model: string;
  /** Everything else of the body: messages, prompt or input, sampling parameters, unknown future fields. */
  readonly body: JsonObject;
  /** An estimate (characters / 4), for admission only, never for a bill. */
  readonly promptTokensEstimate: number;
  /** Upper bound of the answer's tokens per choice, when the client gave one. */
  readonly completionTokensMax: number | null;
}

const id = z.string().min(1).max(200);
const body = z.custom<JsonObject>(
  (value) => typeof value === "object" && value !== null && !Array.isArray(value),
);

const schema = z.strictObject({
  v: z.literal(1),
  turnId: id,
  lane: z.enum(["stateless", "durable"]),
  tenant: id,
  jurisdiction: id,
  cell: id,
  conversationId: id.nullable(),
  incarnation: z.int().min(0),
  attempt: z.int().min(1).max(1000),
  requestId: id,
  priority: z.enum(priorities),
  deadlineMs: z.int().min(0),
  affinity: z.strictObject({ homeShard: id.nullable(), key: z.string().min(1).max(64) }),
  rendering: z.strictObject({
    api: z.enum(["chat", "completions", "embeddings", "responses"]),
    stream: z.boolean(),
    includeUsage: z.boolean(),
    publicId: id,
    createdAtSeconds: z.int().min(0),
    model: id,
    itemIdStem: z.string().regex(/^[0-9A-Za-z]{1,64}$/),
    echo: body,
  }),
  engine: z.strictObject({
    path: z.enum(["chat/completions", "completions", "embeddings"]),
    model: id,
    body,
    promptTokensEstimate: z.int().min(0),
    completionTokensMax: z.int().min(1).nullable(),
  }),
  resume: z
    .strictObject({
      frames: z.string().min(1),
      toSeq: z.int().min(1),
      surplusTokens: z.int().min(0),
      continuations: z.int().min(1).max(1000),
    })
    .nullable(),
  hop: z.int().min(0).max(16),
});

/** A turn request as the cell may trust it (its signature is checked before), or where it is wrong. */
export function parseTurnRequest(
  value: unknown,
):
  | { readonly ok: true; readonly request: TurnRequest }
  | { readonly ok: false; readonly path: string } {
  const parsed = schema.safeParse(value);
  if (parsed.success) return { ok: true, request: parsed.data as TurnRequest };
  return { ok: false, path: parsed.error.issues[0]?.path.map(String).join(".") ?? "" };
}
