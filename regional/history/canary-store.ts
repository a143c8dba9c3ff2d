import { eq, sql } from "drizzle-orm";
import * as z from "zod";
import { canaryReferences } from "#shared/db/schema.ts";
import type { CanaryAnswer } from "#shared/health/canary.ts";
import type { CanaryStore } from "../ports/canary-store.ts";
import type { CallResult } from "./connection.ts";
import type { HistoryDatabase } from "./session.ts";

/** Five prompts for each model and revision that the cell has ever had: more is not read. */
const rowsMax = 5_000;

const answerSchema = z.array(z.union([z.string(), z.int()])).max(1_000);

function readAnswer(text: string): CanaryAnswer | null {
  try {
    const parsed = answerSchema.safeParse(JSON.parse(text));
    return parsed.success ? parsed.data : null;
  } catch {
    return null;
  }
}

/** The canaries' references of `cell` in its region's database. */
export function createCanaryStore(
  cell: string,
  call: <T>(
    deadlineMs: number,
    operation: (db: HistoryDatabase) => Promise<T>,
  ) => Promise<CallResult<T>>,
): CanaryStore {
  return {
    async read(deadlineMs) {
      const { answer, model, prompt, revision } = canaryReferences;
      const result = await call(deadlineMs, (db) =>
        db
          .select({ model, revision, prompt, answer })
          .from(canaryReferences)
          .where(eq(canaryReferences.cell, cell))
          .limit(rowsMax),
      );
      if (!result.isAnswered) return "unavailable";
      return result.value.flatMap((row) => {
        const read = readAnswer(row.answer);
        return read === null ? [] : [{ ...row, answer: read }];
      });
    },
    async keep({ answer, ...key }, deadlineMs) {
      const keptAtMs = sql<number>`(extract(epoch from clock_timestamp()) * 1000)::bigint`;
      const row = { answer: JSON.stringify(answer), keptAtMs };
      const result = await call(deadlineMs, (db) =>
        db
          .insert(canaryReferences)
          .values({ cell, ...key, ...row })
          .onConflictDoUpdate({
            target: [
              canaryReferences.cell,
              canaryReferences.model,
              canaryReferences.revision,
              canaryReferences.prompt,
            ],
            set: row,
          }),
      );
      return result.isAnswered ? "kept" : "unavailable";
    },
  };
}
