import { and, between, eq, isNull, lte } from "drizzle-orm";
import { conversations, items } from "#shared/db/schema.ts";
import { invariant } from "#shared/errors/invariant.ts";
import type { HistoryAppend, HistoryReply } from "#shared/protocol/internal/history.ts";
import { headOf, highestFence, itemsOf, raiseFence, readHead } from "./heads.ts";
import type { Head } from "./heads.ts";
import type { OnHistoryLog } from "./log.ts";
import type { HistoryDatabase } from "./session.ts";
import { insertUsageOf } from "./usage.ts";

/**
 * Appends a batch whole or not at all, in one transaction (reliability.md 2): the head moves only from `fromSeq` and only
 * for a fence that is not lower, and its row lock puts concurrent deliveries in a line. A batch that the head does not
 * take is compared with what is stored:
 *
 * - all its items are there, by id: `duplicate` (the acknowledgement of the first delivery was lost);
 * - a higher fence has written: `fenced`;
 * - the first items are there, or items before it are missing: `gap`, with the seq to go on from;
 * - the conversation was erased: `erased`. Its usage is written all the same: it is content-free, and it was consumed.
 *
 * Ids are compared and not texts, because an item may have been emptied between two deliveries.
 *
 * @throws InvariantError for a batch whose seqs are not gapless, or text that PostgreSQL cannot hold (U+0000, a lone
 * surrogate), which no JSON written by `JSON.stringify` has.
 */
export async function append(
  db: HistoryDatabase,
  command: HistoryAppend,
  onLog: OnHistoryLog,
): Promise<HistoryReply> {
  assertStorable(command);
  return db.transaction(async (transaction) => {
    if (command.fromSeq === 1) await insertHead(transaction, command);
    const moved = await transaction
      .update(conversations)
      .set({
        nextSeq: command.fromSeq + command.items.length,
        fence: highestFence(command.fence),
      })
      .where(
        and(
          headOf(command),
          lte(conversations.fence, command.fence),
          eq(conversations.nextSeq, command.fromSeq),
          isNull(conversations.erasedAtMs),
        ),
      )
      .returning({ nextSeq: conversations.nextSeq });
    if (moved.length === 0) return compare(transaction, command, onLog);
    await insertItems(transaction, command);
    await insertUsageOf(transaction, command, command.usage);
    return { kind: "applied" };
  });
}

async function insertHead(db: HistoryDatabase, command: HistoryAppend): Promise<void> {
  const { tenant, conversationId, jurisdiction, fence } = command;
  await db
    .insert(conversations)
    .values({ tenant, conversationId, jurisdiction, nextSeq: 1, fence })
    .onConflictDoNothing();
}

async function insertItems(db: HistoryDatabase, command: HistoryAppend): Promise<void> {
  const { tenant, conversationId } = command;
  if (command.items.length === 0) return;
  await db.insert(items).values(
    command.items.map(({ seq, id, type, turnId, json, createdAtMs }) => ({
      tenant,
      conversationId,
      seq,
      itemId: id,
      type,
      turnId,
      payload: json,
      createdAtMs,
      // No item's JSON is empty: this is one that was deleted before it came here.
      deletedAtMs: json === "" ? createdAtMs : null,
    })),
  );
}

async function compare(
  db: HistoryDatabase,
  command: HistoryAppend,
  onLog: OnHistoryLog,
): Promise<HistoryReply> {
  const head = await readHead(db, command);
  if (head === null) return { kind: "gap", nextSeq: 1 };
  if (head.erasedAtMs !== null) {
    await insertUsageOf(db, command, command.usage);
    return { kind: "erased" };
  }
  const isZombie = command.fence < head.fence;
  const isContained =
    command.items.length > 0 && command.fromSeq + command.items.length <= head.nextSeq;
  if (!(await agrees(db, command, head))) {
    // With a good fence this is a fork: taking either side would lose an item, so the sender stays refused and seen.
    if (!isZombie) onLog({ event: "history_conflict", reason: "item_differs" });
    return { kind: "fenced", fence: head.fence };
  }
  if (isZombie) return isContained ? { kind: "duplicate" } : { kind: "fenced", fence: head.fence };
  await raiseFence(db, command);
  if (!isContained) return { kind: "gap", nextSeq: head.nextSeq };
  await insertUsageOf(db, command, command.usage);
  return { kind: "duplicate" };
}

/** Whether the stored items that the batch repeats have the ids of the batch. */
async function agrees(db: HistoryDatabase, command: HistoryAppend, head: Head): Promise<boolean> {
  const repeated = command.items.filter((item) => item.seq < head.nextSeq);
  const last = repeated.at(-1);
  if (last === undefined) return true;
  const stored = await db
    .select({ seq: items.seq, itemId: items.itemId })
    .from(items)
    .where(and(itemsOf(command), between(items.seq, command.fromSeq, last.seq)));
  const ids = new Map(stored.map((row) => [row.seq, row.itemId]));
  return repeated.every((item) => ids.get(item.seq) === item.id);
}

function assertStorable(command: HistoryAppend): void {
  for (const [index, item] of command.items.entries()) {
    invariant(item.seq === command.fromSeq + index, "an append's seqs are gapless");
    invariant(
      item.json.isWellFormed() && !item.json.includes("\u0000"),
      "an item's JSON holds neither a lone surrogate nor U+0000",
    );
  }
}
