import type { ErrorOutcome } from "../errors/gateway-error.ts";
import { invariant } from "../errors/invariant.ts";
import type { ItemRecord } from "../protocol/internal/turn-outcome.ts";
import { utf8Bytes } from "./frames.ts";
import type { ConversationPolicy } from "./policy.ts";
import type { ConversationScope, TurnView } from "./rpc.ts";
import type { ConversationHead, ConversationStore, StoredItem, StoredTurn } from "./store.ts";

/** What every step is given besides its input. */
export interface StepContext {
  readonly store: ConversationStore;
  readonly nowMs: number;
  readonly policy: ConversationPolicy;
}

/** A refusal as a value. */
export interface Refused {
  readonly kind: "refused";
  readonly error: ErrorOutcome;
}

export function refuse(
  code: ErrorOutcome["code"],
  message: string,
  extra: Partial<ErrorOutcome> = {},
): Refused {
  return { kind: "refused", error: { code, message, ...extra } };
}

/** While the history is being moved to another region nothing is added to it; that takes seconds. */
export function movingNow(context: StepContext): Refused {
  return refuse("conversation_locked", "The conversation is being moved. Send again in a moment.", {
    retryAfterMs: context.policy.lockedRetryAfterMs,
  });
}

/** The same answer for what never existed, was erased, or belongs to somebody else. */
export function notFound(what: string, param?: string): Refused {
  return refuse("not_found", `${what} not found.`, param === undefined ? {} : { param });
}

/**
 * The head when the conversation exists and is not erased, else null.
 * @throws InvariantError when the caller's scope is not this object's: a mis-routed call must never read or write here.
 */
export function openHead(context: StepContext, scope: ConversationScope): ConversationHead | null {
  const head = context.store.readHead();
  if (head === null) return null;
  invariant(
    head.tenant === scope.tenant &&
      head.jurisdiction === scope.jurisdiction &&
      head.conversationId === scope.conversationId,
    "the call's scope is this conversation's",
  );
  return head.erasure === "none" ? head : null;
}

/** Why these items cannot be added, or null. */
export function refuseItems(
  context: StepContext,
  head: ConversationHead | null,
  items: readonly ItemRecord[],
): Refused | null {
  const { itemsMax, itemBytesMax } = context.policy;
  const held = head === null ? 0 : head.nextSeq - 1;
  if (held + items.length > itemsMax) {
    return refuse(
      "body_too_large",
      `A conversation holds at most ${itemsMax} items. Start a new one.`,
    );
  }
  const seen = new Set<string>();
  for (const item of items) {
    if (utf8Bytes(item.json) > itemBytesMax) {
      return refuse("body_too_large", `A stored item holds at most ${itemBytesMax} bytes.`, {
        param: "input",
      });
    }
    if (seen.has(item.id) || (head !== null && context.store.findItem(item.id) !== null)) {
      return refuse("invalid_request", "An item with this id is in the conversation already.", {
        param: "items",
      });
    }
    seen.add(item.id);
  }
  return null;
}

/** Appends items at the head's next seqs and returns the head as it is then; the caller writes it. */
export function appendItems(
  context: StepContext,
  head: ConversationHead,
  items: readonly ItemRecord[],
  turnRandom: string | null,
): ConversationHead {
  let seq = head.nextSeq;
  for (const { id, type, json } of items) {
    context.store.appendItem({
      id,
      type,
      json,
      seq,
      turnRandom,
      createdAtMs: context.nowMs,
      isTombstone: false,
    });
    seq += 1;
  }
  return { ...head, nextSeq: seq };
}

/**
 * Replaces an item by a content-free tombstone, here at once and in the database by the outbox. The delete is sent even
 * for an item that is not known to be delivered: a delivery whose reply is still out may have carried its content.
 */
export function buryItem(context: StepContext, item: StoredItem): void {
  context.store.replaceItem({ ...item, json: "", isTombstone: true });
  context.store.addOutbox({ kind: "deleteItem", seq: item.seq });
}

/** The items that a prompt is made of: seq ≤ `toSeq`, tombstones left out. */
export function readHistory(context: StepContext, toSeq: number): readonly ItemRecord[] {
  return context.store
    .readItems(1, toSeq, context.policy.itemsMax)
    .filter((item) => !item.isTombstone)
    .map(({ id, type, json }) => ({ id, type, json }));
}

/** How long the streams of ended turns are kept, ms. */
export function streamsKeptMs({ store, policy }: StepContext): number {
  // Heads of an earlier version have no time of their own.
  return store.readHead()?.streamsKeptMs ?? policy.journalKeptMs;
}

/** A turn as RPC shows it. */
export function viewTurn(turn: StoredTurn): TurnView {
  return {
    turnId: turn.turnId as TurnView["turnId"],
    turnRandom: turn.turnRandom,
    publicId: turn.template.rendering.publicId,
    state: turn.state,
    attempt: turn.attempt,
    cell: turn.cell,
    rendering: turn.template.rendering,
    isBackground: turn.isBackground,
    isQueued: turn.state === "running" && turn.dispatchDueMs !== null,
    restartedAfterSeq: turn.restartedAfterSeq,
    createdAtMs: turn.createdAtMs,
    body: turn.body,
    error: turn.error,
    shard: turn.shard,
  };
}
