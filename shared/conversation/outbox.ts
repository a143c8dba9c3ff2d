import type { HistoryCommand, HistoryReply } from "../protocol/internal/history.ts";
import type { CellId, Jurisdiction, TenantId } from "../residency/brands.ts";
import type { StepContext } from "./step.ts";
import type { ConversationHead } from "./store.ts";

/** The next thing to do outside the object, with what identifies it when its reply comes. */
export type Delivery =
  | {
      readonly kind: "history";
      readonly cell: CellId;
      readonly command: HistoryCommand;
      readonly outboxIds: readonly number[];
      readonly toSeq: number;
    }
  /** To a region that does not keep the history, or not any more. */
  | {
      readonly kind: "release";
      readonly cell: CellId;
      readonly command: HistoryCommand;
      readonly outboxIds: readonly number[];
    }
  | {
      readonly kind: "settle";
      readonly tenant: TenantId;
      readonly jurisdiction: Jurisdiction;
      readonly reservationId: string;
      readonly model: string;
      readonly promptTokens: number;
      readonly completionTokens: number;
      readonly outboxIds: readonly number[];
    }
  | {
      readonly kind: "abort";
      readonly cell: CellId;
      readonly turnId: string;
      readonly attempt: number;
      readonly outboxIds: readonly number[];
    };

/** Deliveries that failed a moment ago: the others need not wait for them. */
export interface Skipped {
  readonly outboxIds: ReadonlySet<number>;
  /** The history goes out in order, so all of it waits. */
  readonly hasHistory: boolean;
}

const nothingSkipped: Skipped = { outboxIds: new Set(), hasHistory: false };

function base(head: ConversationHead): Omit<HistoryCommand, "kind"> & { readonly v: 1 } {
  const { tenant, jurisdiction, conversationId } = head;
  return { v: 1, tenant, jurisdiction, conversationId, fence: head.incarnation };
}

/**
 * What to deliver next, in order: what stops work and gives money back, whatever the database does; then items (gapless),
 * usage, deletions and the erasure. Null when the outbox is empty. Items that come after `deliveredSeq` are the outbox's own rows: an item is acknowledged together with them.
 */
export function nextDelivery(
  context: StepContext,
  skipped: Skipped = nothingSkipped,
): Delivery | null {
  const head = context.store.readHead();
  if (head === null) return null;
  const cell = head.historyCell;
  const rows = context.store.readOutbox(64).filter(({ id }) => !skipped.outboxIds.has(id));
  const abort = rows.find((row) => row.entry.kind === "abort");
  if (abort !== undefined && abort.entry.kind === "abort") {
    const { cell: abortCell, turnId, attempt } = abort.entry;
    return { kind: "abort", cell: abortCell, turnId, attempt, outboxIds: [abort.id] };
  }
  const settle = rows.find((row) => row.entry.kind === "settle");
  if (settle !== undefined && settle.entry.kind === "settle") {
    const { tenant, jurisdiction } = head;
    return { ...settle.entry, tenant, jurisdiction, outboxIds: [settle.id] };
  }
  const release = rows.find((row) => row.entry.kind === "release");
  if (release !== undefined && release.entry.kind === "release") {
    const { cell: releasedCell, fence, usage } = release.entry;
    const command = { ...base(head), kind: "release", fence, usage } as const;
    return { kind: "release", cell: releasedCell, command, outboxIds: [release.id] };
  }
  if (skipped.hasHistory) return null;
  const erase = rows.find((row) => row.entry.kind === "erase");
  if (erase !== undefined) {
    return {
      kind: "history",
      cell,
      command: { ...base(head), kind: "erase" },
      outboxIds: [erase.id],
      toSeq: head.deliveredSeq,
    };
  }
  const usageRows = rows.filter((row) => row.entry.kind === "usage");
  // Of an erased conversation only usage is left to deliver; the database takes it and answers `erased`.
  const items = context.store.readItems(
    head.deliveredSeq + 1,
    head.nextSeq - 1,
    context.policy.deliveryItemsMax,
  );
  if (items.length > 0 || usageRows.length > 0) {
    return {
      kind: "history",
      cell,
      command: {
        ...base(head),
        kind: "append",
        fromSeq: head.deliveredSeq + 1,
        items: items.map(({ seq, id, type, json, turnRandom, createdAtMs }) => ({
          seq,
          id,
          type,
          json,
          turnId: turnRandom,
          createdAtMs,
        })),
        usage: usageRows.flatMap((row) => (row.entry.kind === "usage" ? [row.entry.usage] : [])),
      },
      outboxIds: usageRows.map((row) => row.id),
      toSeq: items.at(-1)?.seq ?? head.deliveredSeq,
    };
  }
  const deletion = rows.find((row) => row.entry.kind === "deleteItem");
  if (deletion === undefined || deletion.entry.kind !== "deleteItem") return null;
  return {
    kind: "history",
    cell,
    command: { ...base(head), kind: "deleteItem", seq: deletion.entry.seq },
    outboxIds: [deletion.id],
    toSeq: head.deliveredSeq,
  };
}

/** Whether anything waits to be delivered; two small reads. */
export function hasDelivery(context: StepContext): boolean {
  const head = context.store.readHead();
  if (head === null) return false;
  if (head.erasure === "none" && head.deliveredSeq < head.nextSeq - 1) return true;
  return context.store.readOutbox(1).length > 0;
}

/** What became of a delivery. */
export type DeliveryResult =
  /** Confirmed; go on with the next. */
  | "delivered"
  /** Try again later. */
  | "retry"
  /** A higher incarnation writes: this instance is a zombie and must stop. */
  | "fenced";

/**
 * Takes the reply in. The state is read again, because others have run since the delivery was sent; confirming less than
 * is durable is harmless, since the database refuses duplicates.
 */
export function confirmDelivery(
  context: StepContext,
  delivery: Delivery,
  reply: HistoryReply | { readonly kind: "aborted" | "settled" },
): DeliveryResult {
  const head = context.store.readHead();
  if (head === null) return "delivered";
  if (reply.kind === "unavailable") return "retry";
  if (reply.kind === "fenced" && reply.fence > head.incarnation) return "fenced";
  // A later copy went to that region: there is nothing left to forget.
  if (reply.kind === "fenced" && delivery.kind !== "release") return "retry";
  if (reply.kind === "gap") {
    // The database was restored from a backup, or holds more than was confirmed: go on from what it has.
    const deliveredSeq = Math.max(0, Math.min(reply.nextSeq, head.nextSeq) - 1);
    if (deliveredSeq === head.deliveredSeq) return "retry";
    context.store.writeHead({ ...head, deliveredSeq });
    return "delivered";
  }
  for (const id of delivery.outboxIds) context.store.deleteOutbox(id);
  if (delivery.kind !== "history") return "delivered";
  if (delivery.command.kind === "erase") {
    context.store.writeHead({ ...head, erasure: "erased" });
  } else if (delivery.toSeq > head.deliveredSeq && head.erasure === "none") {
    context.store.writeHead({ ...head, deliveredSeq: delivery.toSeq });
  }
  return "delivered";
}

/** Delay before the `tries`-th repeat of a failed delivery, ms. Jitter is the caller's: one object retries alone. */
export function deliveryRetryMs(context: StepContext, tries: number): number {
  const { deliveryRetryBaseMs, deliveryRetryMaxMs } = context.policy;
  return Math.min(deliveryRetryMaxMs, deliveryRetryBaseMs * 2 ** Math.min(tries, 16));
}
