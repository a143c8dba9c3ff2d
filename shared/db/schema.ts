import { bigint, index, pgTable, primaryKey, text } from "drizzle-orm/pg-core";

/**
 * One row per conversation that this region's database knows: the head that every append is checked against.
 * `nextSeq` is the seq of the item to come, `fence` the highest incarnation that has written. An erased conversation
 * keeps its row, without content, so that late appends are refused.
 */
export const conversations = pgTable(
  "conversations",
  {
    tenant: text().notNull(),
    conversationId: text().notNull(),
    jurisdiction: text().notNull(),
    nextSeq: bigint({ mode: "number" }).notNull(),
    fence: bigint({ mode: "number" }).notNull(),
    erasedAtMs: bigint({ mode: "number" }),
  },
  (table) => [
    primaryKey({ name: "conversations_pkey", columns: [table.tenant, table.conversationId] }),
  ],
);

/**
 * The history, one row per item, gapless by `seq` from 1. `payload` is the item's JSON exactly as the object sent it:
 * `text`, since `jsonb` would reorder keys and change numbers. A deleted item keeps its row with an empty payload.
 */
export const items = pgTable(
  "items",
  {
    tenant: text().notNull(),
    conversationId: text().notNull(),
    seq: bigint({ mode: "number" }).notNull(),
    itemId: text().notNull(),
    type: text().notNull(),
    turnId: text(),
    payload: text().notNull(),
    createdAtMs: bigint({ mode: "number" }).notNull(),
    deletedAtMs: bigint({ mode: "number" }),
  },
  (table) => [
    primaryKey({ name: "items_pkey", columns: [table.tenant, table.conversationId, table.seq] }),
  ],
);

/** Usage of finished turns, once per turn. Content-free: it outlives the erasure of its conversation. */
export const usage = pgTable(
  "usage",
  {
    tenant: text().notNull(),
    turnId: text().notNull(),
    jurisdiction: text().notNull(),
    requestId: text().notNull(),
    model: text().notNull(),
    shard: text(),
    status: text().notNull(),
    promptTokens: bigint({ mode: "number" }).notNull(),
    completionTokens: bigint({ mode: "number" }).notNull(),
    cachedTokens: bigint({ mode: "number" }).notNull(),
    reasoningTokens: bigint({ mode: "number" }).notNull(),
    createdAtMs: bigint({ mode: "number" }).notNull(),
  },
  (table) => [
    primaryKey({ name: "usage_pkey", columns: [table.tenant, table.turnId] }),
    index("usage_tenant_created_at_ms_idx").on(table.tenant, table.createdAtMs),
  ],
);

/**
 * Who scales a region: one row per region, held until `expiresAtMs` of the database's own clock. `token` rises each time that
 * the holder changes, so that a sink can refuse what an earlier one sends late.
 */
export const scalerLeases = pgTable(
  "scaler_leases",
  {
    region: text().notNull(),
    /** Cell and boot. */
    holder: text().notNull(),
    token: bigint({ mode: "number" }).notNull(),
    expiresAtMs: bigint({ mode: "number" }).notNull(),
  },
  (table) => [primaryKey({ name: "scaler_leases_pkey", columns: [table.region] })],
);

/** What each cell was last offered of each model, as JSON; stamped by the database's clock. Numbers only. */
export const scalerDemand = pgTable(
  "scaler_demand",
  {
    region: text().notNull(),
    cell: text().notNull(),
    model: text().notNull(),
    report: text().notNull(),
    reportedAtMs: bigint({ mode: "number" }).notNull(),
  },
  (table) => [
    primaryKey({ name: "scaler_demand_pkey", columns: [table.region, table.cell, table.model] }),
  ],
);

/** The last plan of each model of a region with its reason, and what the next one needs to know, as JSON. Numbers and ids only. */
export const scalerPlans = pgTable(
  "scaler_plans",
  {
    region: text().notNull(),
    model: text().notNull(),
    /** Of the lease that it was made under. */
    token: bigint({ mode: "number" }).notNull(),
    plan: text().notNull(),
    state: text().notNull(),
    plannedAtMs: bigint({ mode: "number" }).notNull(),
  },
  (table) => [primaryKey({ name: "scaler_plans_pkey", columns: [table.region, table.model] })],
);

/**
 * The answers that the shards of a cell last gave alike to the gateway's own synthetic prompts, so that a cell that starts again still
 * knows what is right. No client's content.
 */
export const canaryReferences = pgTable(
  "canary_references",
  {
    cell: text().notNull(),
    model: text().notNull(),
    revision: text().notNull(),
    /** The prompt itself: another one has another reference. */
    prompt: text().notNull(),
    /** Token ids or characters, as JSON. */
    answer: text().notNull(),
    keptAtMs: bigint({ mode: "number" }).notNull(),
  },
  (table) => [
    primaryKey({
      name: "canary_references_pkey",
      columns: [table.cell, table.model, table.revision, table.prompt],
    }),
  ],
);
