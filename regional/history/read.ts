import { and, asc, gt, isNull } from "drizzle-orm";
import { items } from "#shared/db/schema.ts";
import type { HistoryItem } from "#shared/protocol/internal/history.ts";
import type { ConversationId, TenantId } from "#shared/residency/brands.ts";
import { itemsOf } from "./heads.ts";
import type { HistoryDatabase } from "./session.ts";

/** Items after `afterSeq` in order, at most `limit`. Deleted ones are skipped, so a page may jump over a seq. */
export async function readItems(
  db: HistoryDatabase,
  page: {
    readonly tenant: TenantId;
    readonly conversationId: ConversationId;
    readonly afterSeq: number;
    readonly limit: number;
  },
): Promise<readonly HistoryItem[]> {
  return db
    .select({
      id: items.itemId,
      type: items.type,
      json: items.payload,
      seq: items.seq,
      turnId: items.turnId,
      createdAtMs: items.createdAtMs,
    })
    .from(items)
    .where(and(itemsOf(page), gt(items.seq, page.afterSeq), isNull(items.deletedAtMs)))
    .orderBy(asc(items.seq))
    .limit(page.limit);
}
