import { and, eq, isNull, lte, sql } from "drizzle-orm";
import { conversations, items } from "#shared/db/schema.ts";
import type {
  HistoryDeleteItem,
  HistoryErase,
  HistoryReply,
} from "#shared/protocol/internal/history.ts";
import { headOf, highestFence, itemsOf, readHead } from "./heads.ts";
import type { HistoryDatabase } from "./session.ts";

/**
 * Erases a conversation: its items are deleted, its head stays as erased, so that a late append is refused. A
 * conversation that the database never heard of is marked as well, because its first append may still be on its way.
 * Usage stays. A second erasure is a `duplicate`; a lower fence is `fenced`.
 */
export async function eraseConversation(
  db: HistoryDatabase,
  command: HistoryErase,
  nowMs: number,
): Promise<HistoryReply> {
  const { tenant, conversationId, jurisdiction, fence } = command;
  return db.transaction(async (transaction) => {
    const marked = await transaction
      .insert(conversations)
      .values({ tenant, conversationId, jurisdiction, nextSeq: 1, fence, erasedAtMs: nowMs })
      .onConflictDoUpdate({
        target: [conversations.tenant, conversations.conversationId],
        set: { erasedAtMs: nowMs, fence: sql`excluded.fence` },
        setWhere: sql`${conversations.erasedAtMs} is null and ${conversations.fence} <= ${fence}`,
      })
      .returning({ fence: conversations.fence });
    if (marked.length === 0) {
      const head = await readHead(transaction, command);
      const isErased = head === null || head.erasedAtMs !== null;
      return isErased ? { kind: "duplicate" } : { kind: "fenced", fence: head.fence };
    }
    await transaction.delete(items).where(itemsOf(command));
    return { kind: "applied" };
  });
}

/**
 * Empties one item, keeping its seq. One that was not delivered yet is a `gap`: the deletion comes after it. A second
 * deletion is a `duplicate`.
 */
export async function deleteItem(
  db: HistoryDatabase,
  command: HistoryDeleteItem,
  nowMs: number,
): Promise<HistoryReply> {
  return db.transaction(async (transaction) => {
    const [head] = await transaction
      .update(conversations)
      .set({ fence: highestFence(command.fence) })
      .where(
        and(
          headOf(command),
          lte(conversations.fence, command.fence),
          isNull(conversations.erasedAtMs),
        ),
      )
      .returning({ nextSeq: conversations.nextSeq });
    if (head === undefined) {
      const found = await readHead(transaction, command);
      if (found === null) return { kind: "gap", nextSeq: 1 };
      return found.erasedAtMs === null
        ? { kind: "fenced", fence: found.fence }
        : { kind: "erased" };
    }
    if (command.seq >= head.nextSeq) return { kind: "gap", nextSeq: head.nextSeq };
    const emptied = await transaction
      .update(items)
      .set({ payload: "", deletedAtMs: nowMs })
      .where(and(itemsOf(command), eq(items.seq, command.seq), isNull(items.deletedAtMs)))
      .returning({ seq: items.seq });
    return { kind: emptied.length === 0 ? "duplicate" : "applied" };
  });
}
