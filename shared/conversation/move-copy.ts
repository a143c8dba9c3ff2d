import type { HistoryAppend, HistoryItem, HistoryUsage } from "../protocol/internal/history.ts";
import type { CellId } from "../residency/brands.ts";
import type { MovePolicy } from "./move-state.ts";
import type { StepContext } from "./step.ts";
import type { ConversationHead, OutboxEntry, StoredItem } from "./store.ts";

/** Usage records of one release; as many as a command may hold. */
const usageMax = 256;

/** What every command about the conversation says. */
export function historyBase(head: ConversationHead) {
  const { conversationId, incarnation: fence, jurisdiction, tenant } = head;
  return { v: 1, tenant, jurisdiction, conversationId, fence } as const;
}

/** An item as databases keep it; a tombstone goes as one, without content. */
export function historyItem(item: StoredItem): HistoryItem & { readonly isDeleted: boolean } {
  const { createdAtMs, id, isTombstone, json, seq, turnRandom: turnId, type } = item;
  return {
    seq,
    id,
    type,
    turnId,
    createdAtMs,
    json: isTombstone ? "" : json,
    isDeleted: isTombstone,
  };
}

/** The items from `fromSeq` on that go in one piece; at least one where there is one. */
export function copyPiece(
  { store }: StepContext,
  head: ConversationHead,
  fromSeq: number,
  policy: MovePolicy,
): HistoryAppend {
  const items: HistoryItem[] = [];
  let characters = 0;
  for (const stored of store.readItems(fromSeq, head.nextSeq - 1, policy.copyItemsMax)) {
    const { isDeleted: _isDeleted, ...item } = historyItem(stored);
    characters += item.json.length;
    if (items.length > 0 && characters > policy.copyCharactersMax) break;
    items.push(item);
  }
  return { ...historyBase(head), kind: "append", fromSeq, items, usage: [] };
}

/** What tells a region to forget the conversation; the first one does, the others carry more usage. */
export function releaseCommands(
  head: ConversationHead,
  cell: CellId,
  usage: readonly HistoryUsage[],
): readonly OutboxEntry[] {
  const entries: OutboxEntry[] = [];
  for (let at = 0; at === 0 || at < usage.length; at += usageMax) {
    entries.push({
      kind: "release",
      cell,
      fence: head.incarnation,
      usage: usage.slice(at, at + usageMax),
    });
  }
  return entries;
}
