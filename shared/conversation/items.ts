import type { ItemRecord } from "../protocol/internal/turn-outcome.ts";
import { newHead } from "./begin-turn.ts";
import { giveUpForErasure } from "./move.ts";
import { isFrozen } from "./move-state.ts";
import { findEarlier, keepClaim } from "./once.ts";
import type {
  ConversationResult,
  ConversationRpc,
  ConversationScope,
  ConversationView,
  ItemPage,
  ListItemsInput,
} from "./rpc.ts";
import {
  appendItems,
  buryItem,
  movingNow,
  notFound,
  openHead,
  refuse,
  refuseItems,
} from "./step.ts";
import type { StepContext } from "./step.ts";
import type { ConversationHead, OutboxEntry, StoredItem } from "./store.ts";

/** Usage rows that an erasure carries over; a conversation ends far fewer turns while its database is away. */
const outboxKeptMax = 10_000;
/** What an erasure leaves of the outbox. */
const keptKinds: ReadonlySet<OutboxEntry["kind"]> = new Set(["usage", "settle", "release"]);
/** Most items of one page, as OpenAI's list endpoints have it. */
export const pageItemsMax = 100;

function view(head: ConversationHead): ConversationView {
  return { createdAtMs: head.createdAtMs, metadata: head.metadata };
}

function record({ id, type, json }: StoredItem): ItemRecord {
  return { id, type, json };
}

type Input<Call extends keyof ConversationRpc> = Parameters<ConversationRpc[Call]>[0];

/** Creates a conversation with its first items. A repeat finds what is there, and answers as the first time. */
export function createConversation(
  context: StepContext,
  input: Input<"create">,
): ConversationResult<ConversationView> {
  const existing = openHead(context, input.scope);
  if (existing !== null) {
    const earlier = findEarlier(context, input.idempotency);
    if (earlier.kind === "refused") return earlier;
    return { kind: "ok", value: { ...view(existing), metadata: input.metadata } };
  }
  if (context.store.readHead() !== null) return notFound("The conversation was");
  const cell = input.cells[0];
  if (cell === undefined) {
    return refuse(
      "no_capacity_in_jurisdiction",
      "No cell of this jurisdiction can keep the conversation now.",
      {
        retryAfterMs: context.policy.lockedRetryAfterMs,
      },
    );
  }
  const refused = refuseItems(context, null, input.items);
  if (refused !== null) return refused;
  const head = appendItems(
    context,
    newHead(input.scope, cell, input.metadata, context.nowMs),
    input.items,
    null,
  );
  context.store.writeHead(head);
  keepClaim(context, input.idempotency, "", true);
  return { kind: "ok", value: view(head) };
}

export function describeConversation(
  context: StepContext,
  scope: ConversationScope,
): ConversationResult<ConversationView> {
  const head = openHead(context, scope);
  return head === null ? notFound("The conversation was") : { kind: "ok", value: view(head) };
}

/** Replaces the metadata, as OpenAI's update does. */
export function updateMetadata(
  context: StepContext,
  input: Input<"updateMetadata">,
): ConversationResult<ConversationView> {
  const head = openHead(context, input.scope);
  if (head === null) return notFound("The conversation was");
  const earlier = findEarlier(context, input.idempotency);
  if (earlier.kind === "refused") return earlier;
  const next = { ...head, metadata: input.metadata };
  // What was updated since stays as it is.
  if (earlier.kind === "none") {
    context.store.writeHead(next);
    keepClaim(context, input.idempotency, "", false);
  }
  return { kind: "ok", value: view(next) };
}

/** One page of items after a cursor; the cursor may be an item that was deleted meanwhile. */
export function listItems(
  context: StepContext,
  input: ListItemsInput,
): ConversationResult<ItemPage> {
  const head = openHead(context, input.scope);
  if (head === null) return notFound("The conversation was");
  const cursor = input.after === null ? null : context.store.findItem(input.after);
  if (input.after !== null && cursor === null) {
    return refuse("invalid_request", "No item of this conversation has that id.", {
      param: "after",
    });
  }
  const limit = Math.min(pageItemsMax, Math.max(1, input.limit));
  const found: StoredItem[] = [];
  let fromSeq = input.order === "asc" ? (cursor?.seq ?? 0) + 1 : 1;
  let toSeq = input.order === "asc" ? head.nextSeq - 1 : (cursor?.seq ?? head.nextSeq) - 1;
  // Tombstones are skipped, so one read may not fill a page; each round moves the border, which bounds the loop.
  while (found.length <= limit && fromSeq <= toSeq) {
    const read =
      input.order === "asc"
        ? context.store.readItems(fromSeq, toSeq, limit + 1)
        : context.store.readItemsDescending(fromSeq, toSeq, limit + 1);
    const last = read.at(-1);
    if (last === undefined) break;
    found.push(...read.filter((item) => !item.isTombstone));
    if (input.order === "asc") fromSeq = last.seq + 1;
    else toSeq = last.seq - 1;
  }
  return {
    kind: "ok",
    value: { items: found.slice(0, limit).map(record), hasMore: found.length > limit },
  };
}

export function readItem(
  context: StepContext,
  input: { readonly scope: ConversationScope; readonly itemId: string },
): ConversationResult<ItemRecord> {
  const head = openHead(context, input.scope);
  const item = head === null ? null : context.store.findItem(input.itemId);
  return item === null || item.isTombstone
    ? notFound("The item was")
    : { kind: "ok", value: record(item) };
}

/** Adds items outside a turn; refused while a turn runs, because its answer must follow the message it answers. */
export function addItems(
  context: StepContext,
  input: Input<"appendItems">,
): ConversationResult<ItemPage> {
  const head = openHead(context, input.scope);
  if (head === null) return notFound("The conversation was");
  const earlier = findEarlier(context, input.idempotency);
  if (earlier.kind === "refused") return earlier;
  if (earlier.kind === "repeat")
    return { kind: "ok", value: { items: input.items, hasMore: false } };
  if (head.runningTurnRandom !== null) {
    return refuse(
      "conversation_locked",
      "A turn is running on this conversation. Wait for its end, then send again.",
      {
        retryAfterMs: context.policy.lockedRetryAfterMs,
      },
    );
  }
  if (isFrozen(head.move)) return movingNow(context);
  const refused = refuseItems(context, head, input.items);
  if (refused !== null) return refused;
  context.store.writeHead(appendItems(context, head, input.items, null));
  keepClaim(context, input.idempotency, "", true);
  return { kind: "ok", value: { items: input.items, hasMore: false } };
}

/** Erases one item's content, here at once and in the database by the outbox. */
export function deleteItem(
  context: StepContext,
  input: { readonly scope: ConversationScope; readonly itemId: string },
): ConversationResult<ConversationView> {
  const head = openHead(context, input.scope);
  if (head === null) return notFound("The conversation was");
  const item = context.store.findItem(input.itemId);
  if (item === null || item.isTombstone) return notFound("The item was");
  if (isFrozen(head.move)) return movingNow(context);
  buryItem(context, item);
  return { kind: "ok", value: view(head) };
}

/**
 * Erases all content here in this transaction, and orders the same of the database and of the cells whose buffers may
 * still hold frames. The head stays as a tombstone, so that late frames and appends are refused. Repeatable.
 */
export function eraseConversation(
  context: StepContext,
  scope: ConversationScope,
): ConversationResult<{ readonly isDatabaseErased: boolean }> {
  const head = context.store.readHead();
  if (head === null) return notFound("The conversation was");
  const open = openHead(context, scope);
  if (open === null) return notFound("The conversation was");
  const { store, nowMs, policy } = context;
  const recent = store.readTurnsEndedSince(nowMs - policy.cellBufferKeptMs, 64);
  const running = head.runningTurnRandom === null ? null : store.readTurn(head.runningTurnRandom);
  // What was consumed is billed and what was not is given back, erased or not; neither holds content. A region that still
  // has a copy is to forget it.
  const usage = store
    .readOutbox(outboxKeptMax)
    .flatMap(({ entry }) => (keptKinds.has(entry.kind) ? [entry] : []));
  store.clear();
  for (const turn of running === null ? recent : [running, ...recent]) {
    store.addOutbox({ kind: "abort", cell: turn.cell, turnId: turn.turnId, attempt: turn.attempt });
  }
  store.addOutbox({ kind: "erase" });
  for (const entry of usage) store.addOutbox(entry);
  store.writeHead({
    ...giveUpForErasure(context, head),
    metadata: {},
    runningTurnRandom: null,
    lastTurnRandom: null,
    homeShard: null,
    erasure: "erasing",
  });
  return { kind: "ok", value: { isDatabaseErased: false } };
}
