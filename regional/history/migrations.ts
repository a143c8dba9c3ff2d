import { sql } from "drizzle-orm";
import { readMigrationFiles } from "drizzle-orm/migrator";
import { bigint, pgSchema, serial, text } from "drizzle-orm/pg-core";
import type { HistoryDatabase } from "./session.ts";

/** Where drizzle's own migrator and tools look; `CREATE` below must agree with it. */
const appliedMigrations = pgSchema("drizzle").table("__drizzle_migrations", {
  id: serial().primaryKey(),
  hash: text().notNull(),
  created_at: bigint({ mode: "number" }),
});

/** Any number that no other user of the database takes: "merid" in ASCII. */
const lockKey = 0x6d65726964;

/**
 * Applies the migrations of `folder` that the database does not have, in one transaction, under an advisory lock: of
 * several cells that start at once one migrates and the others find it done. A database that has all of them is only
 * read, so that the cell's role needs no right to change tables. One that is ahead (an older release runs beside a newer
 * one) is left as it is.
 *
 * drizzle's `migrate` opens its own transaction and cannot run inside the one that holds the lock; a lock of the session
 * instead would exclude nobody where clients share one (PGlite behind a socket).
 */
export async function applyMigrations(db: HistoryDatabase, folder: string): Promise<void> {
  const migrations = readMigrationFiles({ migrationsFolder: folder });
  const newestMs = Math.max(0, ...migrations.map((migration) => migration.folderMillis));
  if ((await lastAppliedMs(db)) >= newestMs) return;
  await db.transaction(async (transaction) => {
    await transaction.execute(sql`select pg_advisory_xact_lock(${sql.raw(String(lockKey))})`);
    await transaction.execute(sql`create schema if not exists drizzle`);
    await transaction.execute(
      sql`create table if not exists drizzle.__drizzle_migrations (id serial primary key, hash text not null, created_at bigint)`,
    );
    const appliedMs = await lastAppliedMs(transaction);
    for (const migration of migrations) {
      if (migration.folderMillis <= appliedMs) continue;
      for (const statement of migration.sql) await transaction.execute(sql.raw(statement));
      await transaction
        .insert(appliedMigrations)
        .values({ hash: migration.hash, created_at: migration.folderMillis });
    }
  });
}

/** The time of the newest migration that the database has; 0 when it has none. */
async function lastAppliedMs(db: HistoryDatabase): Promise<number> {
  const [table] = await db
    .select({ isThere: sql<boolean>`to_regclass('drizzle.__drizzle_migrations') is not null` })
    .from(sql`(select 1) as one`);
  if (table?.isThere !== true) return 0;
  const [last] = await db
    .select({ ms: sql<string | null>`max(${appliedMigrations.created_at})` })
    .from(appliedMigrations);
  return Number(last?.ms ?? 0);
}
