import * as z from "zod";
import type { ConversationId, Jurisdiction, TenantId } from "../../residency/brands.ts";
import type { ItemRecord } from "./turn-outcome.ts";

/** One row of the outbox on its way to Postgres: an item with its place in the conversation. */
export interface HistoryItem extends ItemRecord {
  /** Gapless from 1 within the conversation. */
  readonly seq: number;
  /** The turn that appended it; null for items created through the Conversations API. */
  readonly turnId: string | null;
  readonly createdAtMs: number;
}

/** Usage of one finished turn; unique by turn, so that a second delivery bills nothing. */
export interface HistoryUsage {
  readonly turnId: string;
  readonly requestId: string;
  readonly model: string;
  readonly shard: string | null;
  readonly status: string;
  readonly promptTokens: number;
  readonly completionTokens: number;
  readonly cachedTokens: number;
  readonly reasoningTokens: number;
  readonly createdAtMs: number;
}

/**
 * Object → cell: `POST /internal/history/append`. At least once; the database makes it exactly once. `fromSeq` is the
 * seq of the first item; the append is refused when the database's next seq differs (a gap) or holds a higher fence.
 */
export interface HistoryAppend {
  readonly v: 1;
  readonly kind: "append";
  readonly tenant: TenantId;
  readonly jurisdiction: Jurisdiction;
  readonly conversationId: ConversationId;
  /** The object's incarnation. */
  readonly fence: number;
  readonly fromSeq: number;
  readonly items: readonly HistoryItem[];
  readonly usage: readonly HistoryUsage[];
}

/** Object → cell: `POST /internal/history/delete-item`: erases the content of one item, keeping its seq. */
export interface HistoryDeleteItem {
  readonly v: 1;
  readonly kind: "deleteItem";
  readonly tenant: TenantId;
  readonly jurisdiction: Jurisdiction;
  readonly conversationId: ConversationId;
  readonly fence: number;
  readonly seq: number;
}

/** Object → cell: `POST /internal/history/erase`: erases the conversation and refuses every later append. */
export interface HistoryErase {
  readonly v: 1;
  readonly kind: "erase";
  readonly tenant: TenantId;
  readonly jurisdiction: Jurisdiction;
  readonly conversationId: ConversationId;
  readonly fence: number;
}

/**
 * Object → cell: forgets a conversation that another region keeps, or is to keep. Not an erasure: the conversation may
 * come back, with a higher fence. The usage that was to be delivered here is taken, whatever the fence says.
 */
export interface HistoryRelease {
  readonly v: 1;
  readonly kind: "release";
  readonly tenant: TenantId;
  readonly jurisdiction: Jurisdiction;
  readonly conversationId: ConversationId;
  readonly fence: number;
  readonly usage: readonly HistoryUsage[];
}

/** Object → cell: raises the fence, so that whatever was sent before is refused from now on, and tells what is held. */
export interface HistorySeal {
  readonly v: 1;
  readonly kind: "seal";
  readonly tenant: TenantId;
  readonly jurisdiction: Jurisdiction;
  readonly conversationId: ConversationId;
  readonly fence: number;
}

/** What an object sends to a region's database. All go to `POST /internal/history`, told apart by `kind`. */
export type HistoryCommand =
  | HistoryAppend
  | HistoryDeleteItem
  | HistoryErase
  | HistoryRelease
  | HistorySeal;

/** What a region's database holds of a conversation. */
export interface HistorySealed {
  readonly kind: "sealed";
  /** Seq of the item to come: 1 when it holds none. */
  readonly nextSeq: number;
  /** The chain of {@link historyLink} over its items, 64 hex digits; empty without items. */
  readonly chain: string;
}

/**
 * The text whose SHA-256 in hex is the next link of a conversation's chain. A deleted item counts with its place and
 * without its content, on both sides.
 */
export function historyLink(
  chain: string,
  item: HistoryItem & { readonly isDeleted: boolean },
): string {
  const { createdAtMs, id, isDeleted, json, seq, turnId, type } = item;
  const content = isDeleted ? "" : json;
  return JSON.stringify([chain, seq, id, type, turnId, createdAtMs, isDeleted, content]);
}

/**
 * The database's answer. `applied` and `duplicate` are both success: the rows are durable. `fenced`: a higher fence was
 * seen, the sender is a zombie. `gap`: the database expects `nextSeq`; the sender sends again from there. `erased`: the
 * conversation is gone, drop the row.
 */
export type HistoryReply =
  | { readonly kind: "applied" }
  | { readonly kind: "duplicate" }
  | { readonly kind: "fenced"; readonly fence: number }
  | { readonly kind: "gap"; readonly nextSeq: number }
  | { readonly kind: "erased" }
  | HistorySealed
  /** Answered with 503: the database cannot be reached; send again later. */
  | { readonly kind: "unavailable" };

/** Usage and whose it is. */
export type OwnedUsage = HistoryUsage & {
  readonly tenant: TenantId;
  readonly jurisdiction: Jurisdiction;
};

/** The port that every regional database implements; one contract suite runs on PGlite and on PostgreSQL. */
export interface HistoryStore {
  execute(command: HistoryCommand, deadlineMs: number): Promise<HistoryReply>;
  /** Writes usage of stateless turns, all or none; unique by turn id. */
  recordUsage(
    usage: readonly OwnedUsage[],
    deadlineMs: number,
  ): Promise<"recorded" | "unavailable">;
  /** Items with seq > `afterSeq`, in order, at most `limit`; `unavailable` when the database cannot be reached. */
  read(
    tenant: TenantId,
    conversationId: ConversationId,
    afterSeq: number,
    limit: number,
    deadlineMs: number,
  ): Promise<readonly HistoryItem[] | "unavailable">;
  /** Whether a trivial query succeeds within the deadline. */
  ping(deadlineMs: number): Promise<boolean>;
  close(): Promise<void>;
}

const id = z.string().min(1).max(200);
const fence = z.int().min(0);
const base = { v: z.literal(1), tenant: id, jurisdiction: id, conversationId: id, fence };
const seq = z.int().min(1);
const tokens = z.int().min(0);

const usageSchema = z
  .array(
    z.strictObject({
      turnId: id,
      requestId: id,
      model: id,
      shard: id.nullable(),
      status: z.string().max(32),
      promptTokens: tokens,
      completionTokens: tokens,
      cachedTokens: tokens,
      reasoningTokens: tokens,
      createdAtMs: z.int().min(0),
    }),
  )
  .max(256);

const commandSchema = z.discriminatedUnion("kind", [
  z.strictObject({
    ...base,
    kind: z.literal("append"),
    fromSeq: seq,
    items: z
      .array(
        z.strictObject({
          id,
          type: z.string().max(64),
          json: z.string(),
          seq,
          turnId: id.nullable(),
          createdAtMs: z.int().min(0),
        }),
      )
      .max(4096),
    usage: usageSchema,
  }),
  z.strictObject({ ...base, kind: z.literal("deleteItem"), seq }),
  z.strictObject({ ...base, kind: z.literal("erase") }),
  z.strictObject({ ...base, kind: z.literal("release"), usage: usageSchema }),
  z.strictObject({ ...base, kind: z.literal("seal") }),
]);

/** A command as the cell may execute it, or the path of what is wrong. */
export function parseHistoryCommand(
  value: unknown,
):
  | { readonly ok: true; readonly command: HistoryCommand }
  | { readonly ok: false; readonly path: string } {
  const parsed = commandSchema.safeParse(value);
  if (parsed.success) return { ok: true, command: parsed.data as HistoryCommand };
  return { ok: false, path: parsed.error.issues[0]?.path.map(String).join(".") ?? "" };
}
