import { and, eq, sql } from "drizzle-orm";
import { scalerDemand, scalerLeases, scalerPlans } from "#shared/db/schema.ts";
import type { ScalingStore, StoredDemand, StoredPlan } from "../ports/scaling-store.ts";
import type { CallResult } from "./connection.ts";
import type { HistoryDatabase } from "./session.ts";

/** Runs a statement by a deadline. */
type Call = <T>(
  deadlineMs: number,
  operation: (db: HistoryDatabase) => Promise<T>,
) => Promise<CallResult<T>>;

/** The database's own clock, ms: the only one that leases and ages are measured with. */
const databaseNowMs = sql<number>`(extract(epoch from clock_timestamp()) * 1000)::bigint`;

/** Text or number, as the driver gives a bigint of an expression. */
function ageOf(value: unknown): number {
  return Math.max(0, Number(value));
}

/** What the scalers of `region` share, in the region's database. */
export function createScalingStore(region: string, call: Call): ScalingStore {
  async function answer<T>(
    deadlineMs: number,
    operation: (db: HistoryDatabase) => Promise<T>,
  ): Promise<T | "unavailable"> {
    const result = await call(deadlineMs, operation);
    return result.isAnswered ? result.value : "unavailable";
  }

  return {
    acquire: (holder, leaseMs, deadlineMs) =>
      answer(deadlineMs, async (db) => {
        const expiresAtMs = sql<number>`${databaseNowMs} + ${leaseMs}`;
        const isOver = sql`${scalerLeases.expiresAtMs} <= ${databaseNowMs}`;
        const [held] = await db
          .insert(scalerLeases)
          .values({ region, holder, token: 1, expiresAtMs })
          .onConflictDoUpdate({
            target: scalerLeases.region,
            set: {
              holder,
              // A holder that comes too late has another lease: somebody may have looked in between.
              token: sql`${scalerLeases.token} + case when ${isOver} then 1 else 0 end`,
              expiresAtMs,
            },
            setWhere: sql`${scalerLeases.holder} = ${holder} or ${isOver}`,
          })
          .returning({ token: scalerLeases.token });
        return held ?? "held";
      }),
    release: async (holder, deadlineMs) => {
      await answer(deadlineMs, (db) =>
        db
          .update(scalerLeases)
          .set({ expiresAtMs: 0 })
          .where(and(eq(scalerLeases.region, region), eq(scalerLeases.holder, holder))),
      );
    },
    report: async (cell, reports, deadlineMs) => {
      if (reports.length === 0) return "written";
      return answer(deadlineMs, async (db) => {
        await db
          .insert(scalerDemand)
          .values(
            reports.map(({ model, report }) => ({
              region,
              cell,
              model,
              report,
              reportedAtMs: databaseNowMs,
            })),
          )
          .onConflictDoUpdate({
            target: [scalerDemand.region, scalerDemand.cell, scalerDemand.model],
            set: { report: sql`excluded.report`, reportedAtMs: sql`excluded.reported_at_ms` },
          });
        return "written" as const;
      });
    },
    demand: (deadlineMs) =>
      answer(deadlineMs, async (db): Promise<readonly StoredDemand[]> => {
        const rows = await db
          .select({
            cell: scalerDemand.cell,
            model: scalerDemand.model,
            report: scalerDemand.report,
            ageMs: sql`${databaseNowMs} - ${scalerDemand.reportedAtMs}`,
          })
          .from(scalerDemand)
          .where(eq(scalerDemand.region, region));
        return rows.map((row) => ({ ...row, ageMs: ageOf(row.ageMs) }));
      }),
    plans: (deadlineMs) =>
      answer(deadlineMs, async (db): Promise<readonly StoredPlan[]> => {
        const rows = await db
          .select({
            model: scalerPlans.model,
            token: scalerPlans.token,
            plan: scalerPlans.plan,
            state: scalerPlans.state,
            ageMs: sql`${databaseNowMs} - ${scalerPlans.plannedAtMs}`,
          })
          .from(scalerPlans)
          .where(eq(scalerPlans.region, region));
        return rows.map((row) => ({ ...row, ageMs: ageOf(row.ageMs) }));
      }),
    keepPlan: ({ model, plan, state, token }, deadlineMs) =>
      answer(deadlineMs, (db) =>
        db.transaction(async (transaction) => {
          // Locked, so that nobody takes the lease between the look and the write.
          const [lease] = await transaction
            .select({ isOurs: sql<boolean>`${scalerLeases.expiresAtMs} > ${databaseNowMs}` })
            .from(scalerLeases)
            .where(and(eq(scalerLeases.region, region), eq(scalerLeases.token, token)))
            .for("update");
          if (lease?.isOurs !== true) return "fenced" as const;
          await transaction
            .insert(scalerPlans)
            .values({ region, model, token, plan, state, plannedAtMs: databaseNowMs })
            .onConflictDoUpdate({
              target: [scalerPlans.region, scalerPlans.model],
              set: { token, plan, state, plannedAtMs: databaseNowMs },
            });
          return "written" as const;
        }),
      ),
  };
}
