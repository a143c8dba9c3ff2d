import { createHash } from "node:crypto";
import { and, asc, gt, sql } from "drizzle-orm";
import { conversations, items } from "#shared/db/schema.ts";
import { historyLink } from "#shared/protocol/internal/history.ts";
import type {
  HistoryRelease,
  HistoryReply,
  HistorySeal,
} from "#shared/protocol/internal/history.ts";
import { itemsOf, readHead } from "./heads.ts";
import type { HistoryDatabase } from "./session.ts";
import { insertUsageOf } from "./usage.ts";

/** Items that are read at a time for the chain. */
const pageItems = 500;

/**
 * Deletes the items of a conversation that this region does not keep. Its head stays, empty and with the fence, so that
 * what was sent before is refused; a copy with a higher fence begins anew from seq 1. A lower fence is `fenced` and
 * deletes nothing. The usage is taken in every case: it is content-free, and it was consumed.
 */
export async function releaseConversation(
  db: HistoryDatabase,
  command: HistoryRelease,
): Promise<HistoryReply> {
  const { conversationId, fence, jurisdiction, tenant } = command;
  return db.transaction(async (transaction) => {
    await insertUsageOf(transaction, command, command.usage);
    const marked = await transaction
      .insert(conversations)
      .values({ tenant, conversationId, jurisdiction, nextSeq: 1, fence })
      .onConflictDoUpdate({
        target: [conversations.tenant, conversations.conversationId],
        set: { nextSeq: 1, fence: sql`excluded.fence` },
        setWhere: sql`${conversations.erasedAtMs} is null and ${conversations.fence} <= ${fence}`,
      })
      .returning({ fence: conversations.fence });
    if (marked.length === 0) return refusalOf(transaction, command);
    await transaction.delete(items).where(itemsOf(command));
    return { kind: "applied" };
  });
}

/** Raises the fence and hashes what is held, in one transaction: nothing older can be written after the answer. */
export async function sealConversation(
  db: HistoryDatabase,
  command: HistorySeal,
): Promise<HistoryReply> {
  const { conversationId, fence, jurisdiction, tenant } = command;
  return db.transaction(async (transaction) => {
    const sealed = await transaction
      .insert(conversations)
      .values({ tenant, conversationId, jurisdiction, nextSeq: 1, fence })
      .onConflictDoUpdate({
        target: [conversations.tenant, conversations.conversationId],
        set: { fence: sql`excluded.fence` },
        setWhere: sql`${conversations.erasedAtMs} is null and ${conversations.fence} <= ${fence}`,
      })
      .returning({ nextSeq: conversations.nextSeq });
    const [head] = sealed;
    if (head === undefined) return refusalOf(transaction, command);
    return { kind: "sealed", nextSeq: head.nextSeq, chain: await chainOf(transaction, command) };
  });
}

async function refusalOf(
  db: HistoryDatabase,
  command: HistoryRelease | HistorySeal,
): Promise<HistoryReply> {
  const head = await readHead(db, command);
  return head === null || head.erasedAtMs !== null
    ? { kind: "erased" }
    : { kind: "fenced", fence: head.fence };
}

async function chainOf(db: HistoryDatabase, command: HistorySeal): Promise<string> {
  let chain = "";
  let afterSeq = 0;
  for (;;) {
    const page = await db
      .select({
        seq: items.seq,
        id: items.itemId,
        type: items.type,
        turnId: items.turnId,
        json: items.payload,
        createdAtMs: items.createdAtMs,
        deletedAtMs: items.deletedAtMs,
      })
      .from(items)
      .where(and(itemsOf(command), gt(items.seq, afterSeq)))
      .orderBy(asc(items.seq))
      .limit(pageItems);
    const last = page.at(-1);
    if (last === undefined) return chain;
    afterSeq = last.seq;
    for (const { deletedAtMs, ...item } of page) {
      const link = historyLink(chain, { ...item, isDeleted: deletedAtMs !== null });
      chain = createHash("sha256").update(link).digest("hex");
    }
  }
}
