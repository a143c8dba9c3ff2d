import { usage } from "#shared/db/schema.ts";
import type { HistoryUsage } from "#shared/protocol/internal/history.ts";
import type { Jurisdiction, TenantId } from "#shared/residency/brands.ts";
import type { HistoryDatabase } from "./session.ts";

/** Whose usage it is. */
export interface UsageOwner {
  readonly tenant: TenantId;
  readonly jurisdiction: Jurisdiction;
}

/** Writes usage once per turn: the first row of a turn stays, a later one changes nothing. */
export async function insertUsage(
  db: HistoryDatabase,
  { tenant, jurisdiction }: UsageOwner,
  rows: readonly HistoryUsage[],
): Promise<void> {
  if (rows.length === 0) return;
  await db
    .insert(usage)
    .values(
      rows.map((row) => ({
        tenant,
        jurisdiction,
        turnId: row.turnId,
        requestId: row.requestId,
        model: row.model,
        shard: row.shard,
        status: row.status,
        promptTokens: row.promptTokens,
        completionTokens: row.completionTokens,
        cachedTokens: row.cachedTokens,
        reasoningTokens: row.reasoningTokens,
        createdAtMs: row.createdAtMs,
      })),
    )
    .onConflictDoNothing();
}
