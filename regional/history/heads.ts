import { and, eq, lt, sql } from "drizzle-orm";
import type { SQL } from "drizzle-orm";
import { conversations, items } from "#shared/db/schema.ts";
import type { HistoryCommand } from "#shared/protocol/internal/history.ts";
import type { HistoryDatabase } from "./session.ts";

/** Which conversation a statement is about. The tenant is part of every key: an id alone reaches no row. */
type ConversationKey = Pick<HistoryCommand, "tenant" | "conversationId">;

/** The row in `conversations` that every command is checked against. */
export interface Head {
  readonly nextSeq: number;
  readonly fence: number;
  readonly erasedAtMs: number | null;
}

export function headOf(key: ConversationKey): SQL | undefined {
  return and(
    eq(conversations.tenant, key.tenant),
    eq(conversations.conversationId, key.conversationId),
  );
}

export function itemsOf(key: ConversationKey): SQL | undefined {
  return and(eq(items.tenant, key.tenant), eq(items.conversationId, key.conversationId));
}

/** The head as it is, or null when the database never heard of the conversation. */
export async function readHead(db: HistoryDatabase, key: ConversationKey): Promise<Head | null> {
  const [head] = await db
    .select({
      nextSeq: conversations.nextSeq,
      fence: conversations.fence,
      erasedAtMs: conversations.erasedAtMs,
    })
    .from(conversations)
    .where(headOf(key));
  return head ?? null;
}

/** The higher of the stored fence and `fence`, for a `SET`. */
export function highestFence(fence: number): SQL {
  return sql`greatest(${conversations.fence}, ${fence})`;
}

/** Makes lower incarnations be refused from now on, although this command wrote nothing. */
export async function raiseFence(db: HistoryDatabase, command: HistoryCommand): Promise<void> {
  await db
    .update(conversations)
    .set({ fence: command.fence })
    .where(and(headOf(command), lt(conversations.fence, command.fence)));
}
