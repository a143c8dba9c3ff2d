import * as z from "zod";
import type { JsonObject } from "../json.ts";

/**
 * Edge → cell, `POST /internal/prewarm`: has a shard compute the prefix of a conversation's next prompt, so that the
 * conversation finds it cached there.
 */
export interface PrewarmRequest {
  readonly v: 1;
  readonly tenant: string;
  readonly jurisdiction: string;
  readonly conversationId: string;
  readonly model: string;
  /** Null: the shard that a turn with this affinity key would get. */
  readonly shard: string | null;
  readonly affinityKey: string;
  /** Of a chat completion, the messages among it. */
  readonly body: JsonObject;
  readonly promptTokensEstimate: number;
  readonly requestId: string;
}

/** What became of it. */
export type PrewarmReply =
  | {
      readonly kind: "warmed";
      readonly shard: string;
      readonly promptTokens: number;
      /** Of those, what the shard had cached before. */
      readonly cachedTokens: number;
    }
  /** The shard's share of prefill for moves is used up for the moment. */
  | { readonly kind: "limited"; readonly retryAfterMs: number }
  /** The shard takes no prompts now: draining, unhealthy, full, failed, or not of this cell. */
  | { readonly kind: "unavailable"; readonly reason: string };

const id = z.string().min(1).max(200);

const requestSchema = z.strictObject({
  v: z.literal(1),
  tenant: id,
  jurisdiction: id,
  conversationId: id,
  model: id,
  shard: id.nullable(),
  affinityKey: z.string().max(200),
  body: z.record(z.string(), z.json()),
  promptTokensEstimate: z.int().min(0),
  requestId: id,
});

const replySchema = z.discriminatedUnion("kind", [
  z.object({
    kind: z.literal("warmed"),
    shard: id,
    promptTokens: z.int().min(0),
    cachedTokens: z.int().min(0),
  }),
  z.object({ kind: z.literal("limited"), retryAfterMs: z.number().min(0) }),
  z.object({ kind: z.literal("unavailable"), reason: z.string().max(64) }),
]);

/** The request in `value`, or null when it is none. */
export function parsePrewarmRequest(value: unknown): PrewarmRequest | null {
  const parsed = requestSchema.safeParse(value);
  return parsed.success ? (parsed.data as PrewarmRequest) : null;
}

/** The reply in `value`, or null when it is none. */
export function parsePrewarmReply(value: unknown): PrewarmReply | null {
  const parsed = replySchema.safeParse(value);
  return parsed.success ? parsed.data : null;
}
