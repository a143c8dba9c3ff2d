import { sql } from "drizzle-orm";
import { usage } from "#shared/db/schema.ts";
import type { HistoryUsage, OwnedUsage } from "#shared/protocol/internal/history.ts";
import type { HistoryDatabase } from "./session.ts";

/**
 * Writes usage once per turn: the first row of a turn stays, a later one changes nothing. All rows or none. They are one parameter,
 * so that the statement is the same for one row and for hundreds, and is built and parsed once for all of them.
 */
export async function insertUsage(db: HistoryDatabase, rows: readonly OwnedUsage[]): Promise<void> {
  if (rows.length === 0) return;
  await db.execute(sql`
    insert into ${usage} (tenant, jurisdiction, turn_id, request_id, model, shard, status,
      prompt_tokens, completion_tokens, cached_tokens, reasoning_tokens, created_at_ms)
    select * from json_to_recordset(${JSON.stringify(rows.map(recordOf))}::json) as given (
      tenant text, jurisdiction text, turn_id text, request_id text, model text, shard text, status text,
      prompt_tokens bigint, completion_tokens bigint, cached_tokens bigint, reasoning_tokens bigint, created_at_ms bigint)
    on conflict do nothing`);
}

/** The same for the usage of one owner. */
export function insertUsageOf(
  db: HistoryDatabase,
  { jurisdiction, tenant }: Pick<OwnedUsage, "jurisdiction" | "tenant">,
  rows: readonly HistoryUsage[],
): Promise<void> {
  return insertUsage(
    db,
    rows.map((row) => ({ ...row, tenant, jurisdiction })),
  );
}

function recordOf(row: OwnedUsage): Readonly<Record<string, string | number | null>> {
  return {
    tenant: row.tenant,
    jurisdiction: row.jurisdiction,
    turn_id: row.turnId,
    request_id: row.requestId,
    model: row.model,
    shard: row.shard,
    status: row.status,
    prompt_tokens: row.promptTokens,
    completion_tokens: row.completionTokens,
    cached_tokens: row.cachedTokens,
    reasoning_tokens: row.reasoningTokens,
    created_at_ms: row.createdAtMs,
  };
}
