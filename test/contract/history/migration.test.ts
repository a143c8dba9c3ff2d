import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import postgres from "postgres";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openHistory } from "#regional/history/index.ts";
import type { HistoryLog } from "#regional/history/index.ts";
import { findPostgres, startPostgresServer } from "#test/support/postgres-server.ts";
import type { PostgresServer } from "#test/support/postgres-server.ts";
import { startDatabaseProcess } from "./database-process.ts";
import type { DatabaseProcess } from "./database-process.ts";
import { aConversation, anAppend, migrationsDir, openStore, soon } from "./harness.ts";

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "meridian-migration-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

async function query(url: string, statement: string): Promise<readonly postgres.Row[]> {
  const sql = postgres(url, { max: 1, fetch_types: false, onnotice: () => undefined });
  const rows = await sql.unsafe(statement);
  await sql.end();
  return [...rows];
}

/** Declares what holds for cells that start on the empty database at `url`. */
function declareMigrationCases(url: () => string): void {
  test("migrates once when four cells start at the same moment", async () => {
    const opened = await Promise.all([1, 2, 3, 4].map(() => openStore(url(), folder)));
    const pings = await Promise.all(opened.map(({ store }) => store.ping(soon())));
    expect(pings).toEqual([true, true, true, true]);
    expect(opened.map(({ logs }) => logs)).toEqual(
      opened.map(() => [{ event: "history_connected", reason: "postgres" }]),
    );
    await Promise.all(opened.map(({ store }) => store.close()));
    const journal: unknown = JSON.parse(
      readFileSync(join(migrationsDir, "meta", "_journal.json"), "utf8"),
    );
    const applied = await query(url(), "select hash from drizzle.__drizzle_migrations");
    expect(journal).toMatchObject({ entries: { length: applied.length } });
  });

  test("applies a newer migration, and an older cell goes on working beside it", async () => {
    const newer = join(folder, "newer");
    cpSync(migrationsDir, newer, { recursive: true });
    const journalFile = join(newer, "meta", "_journal.json");
    const journal = JSON.parse(readFileSync(journalFile, "utf8")) as { entries: object[] };
    const when = 4_000_000_000_000;
    journal.entries.push({ idx: 999, version: "7", when, tag: "0999_note", breakpoints: true });
    writeFileSync(journalFile, JSON.stringify(journal));
    writeFileSync(join(newer, "0999_note.sql"), 'ALTER TABLE "usage" ADD COLUMN "note" text;');
    const logs: HistoryLog[] = [];
    const onLog = (log: HistoryLog): number => logs.push(log);
    const options = { database: url(), dataDir: folder, migrationsDir: newer, onLog };
    const store = await openHistory(options);
    expect(await store.ping(soon())).toBe(true);
    await store.close();
    expect(await query(url(), "select note from usage limit 1")).toEqual([]);

    const older = await openStore(url(), folder);
    const batch = anAppend(aConversation(), [1, 1]);
    expect(await older.store.execute(batch, soon())).toEqual({ kind: "applied" });
    await older.store.close();
  });
}

describe("migrations of the development database", () => {
  let server: DatabaseProcess;
  beforeAll(async () => {
    server = await startDatabaseProcess(join(folder, "served"));
  });
  afterAll(async () => {
    await server.end("SIGTERM");
  });
  declareMigrationCases(() => server.url);
});

const binaries = findPostgres();
const isSkipped = binaries === undefined && process.env["MERIDIAN_REQUIRE_SERVICES"] !== "1";
if (isSkipped) console.warn("SKIPPED: no PostgreSQL was found; migrations ran on PGlite only");

describe.skipIf(isSkipped)("migrations of a real PostgreSQL", () => {
  let server: PostgresServer;
  beforeAll(async () => {
    if (binaries === undefined) {
      throw new Error("no PostgreSQL was found, and MERIDIAN_REQUIRE_SERVICES is 1");
    }
    server = await startPostgresServer(binaries);
  });
  afterAll(() => server.stop());
  declareMigrationCases(() => server.url);
});

test("keeps the embedded database over a restart, and closes it in the middle of opening", async () => {
  const key = aConversation();
  const first = await openStore("embedded", folder);
  expect(await first.store.execute(anAppend(key, [1, 2]), soon())).toEqual({ kind: "applied" });
  await first.store.close();
  await first.store.close();
  expect(await first.store.ping(soon())).toBe(false);

  const second = await openStore("embedded", folder);
  await second.store.close();
  expect(second.logs).toEqual([]);

  const third = await openStore("embedded", folder);
  expect(await third.store.execute(anAppend(key, [1, 2]), soon())).toEqual({ kind: "duplicate" });
  await third.store.close();
});

test("stays unavailable, and says so, while the folder of the embedded database cannot be used", async () => {
  const file = join(folder, "a-file");
  writeFileSync(file, "");
  const { store, logs } = await openStore("embedded", file);
  expect(await store.ping(soon())).toBe(false);
  expect(logs).toEqual([{ event: "history_unavailable", reason: "ENOTDIR" }]);
  await store.close();
});
