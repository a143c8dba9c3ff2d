import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PGlite } from "@electric-sql/pglite";
import postgres from "postgres";
import { afterAll, beforeAll, describe, test } from "vitest";
import * as z from "zod";
import type { HistoryLog } from "#regional/history/index.ts";
import type { HistoryStore, OwnedUsage } from "#shared/protocol/internal/history.ts";
import { findPostgres, startPostgresServer } from "#test/support/postgres-server.ts";
import type { PostgresServer } from "#test/support/postgres-server.ts";
import { appendCases } from "./append-cases.ts";
import { startDatabaseProcess } from "./database-process.ts";
import type { DatabaseProcess } from "./database-process.ts";
import { eraseCases } from "./erase-cases.ts";
import { aConversation, openStore, readSeqs, soon } from "./harness.ts";
import type { HistoryCase } from "./harness.ts";
import { moveCases } from "./move-cases.ts";

const cases: readonly HistoryCase[] = [...appendCases, ...eraseCases, ...moveCases];

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "meridian-history-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Declares the whole table against one database, opened once. */
function declareCases(database: () => string): void {
  let store: HistoryStore;
  let logs: HistoryLog[];
  const noted = new Map<string, readonly number[]>();
  const notedRows: OwnedUsage[] = [];
  beforeAll(async () => {
    ({ store, logs } = await openStore(database(), folder));
  });
  afterAll(() => store.close());

  test.for(cases)("$name", async (one, { expect }) => {
    expect.hasAssertions();
    const key = aConversation();
    await one.run({
      store,
      logs,
      key,
      expect,
      execute: (command) => store.execute(command, soon()),
      seqs: () => readSeqs(store, key),
      noteUsage: (turnId, promptTokens) => noted.set(turnId, promptTokens),
      noteRow: (row) => notedRows.push(row),
    });
  });

  test("holds the usage rows that the cases noted, once the store is closed", async ({
    expect,
  }) => {
    await store.close();
    const rows = await readUsage(database());
    const found = [...noted.keys()].map((turnId) => [
      turnId,
      rows.filter((row) => row.turn_id === turnId).map((row) => row.prompt_tokens),
    ]);
    expect(notedRows.length).toBeGreaterThan(100);
    for (const row of notedRows) {
      const { turnId } = row;
      expect(rows.filter(({ turn_id: id }) => id === turnId)).toEqual([columnsOf(row)]);
    }
    expect(noted.size).toBeGreaterThan(4);
    expect(new Map(found as [string, number[]][])).toEqual(noted);
  });
}

/** The columns that hold `row`. */
function columnsOf(row: OwnedUsage): Readonly<Record<string, unknown>> {
  const snake = (name: string): string =>
    name.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
  return Object.fromEntries(Object.entries(row).map(([name, value]) => [snake(name), value]));
}

const usageRows = z.array(z.looseObject({ turn_id: z.string(), prompt_tokens: z.number() }));

async function readUsage(database: string): Promise<z.infer<typeof usageRows>> {
  const statement = "select row_to_json(usage) as row from usage";
  const read = (rows: readonly unknown[]) =>
    usageRows.parse(rows.map((row) => (row as { readonly row: unknown }).row));
  if (database === "embedded") {
    const db = await PGlite.create({ dataDir: join(folder, "postgres") });
    const { rows } = await db.query(statement);
    await db.close();
    return read(rows);
  }
  const sql = postgres(database, { max: 1, fetch_types: false });
  const rows = await sql.unsafe(statement);
  await sql.end();
  return read(rows);
}

describe("history on embedded PGlite", () => {
  declareCases(() => "embedded");
});

describe("history on the development database, over its socket", () => {
  let server: DatabaseProcess;
  beforeAll(async () => {
    server = await startDatabaseProcess(join(folder, "served"));
  });
  afterAll(async () => {
    await server.end("SIGTERM");
  });
  declareCases(() => server.url);
});

const binaries = findPostgres();
const isSkipped = binaries === undefined && process.env["MERIDIAN_REQUIRE_SERVICES"] !== "1";
if (isSkipped) {
  console.warn(
    `SKIPPED: no PostgreSQL in PATH or /usr/lib/postgresql; ${cases.length} history cases ran on PGlite only`,
  );
}

describe.skipIf(isSkipped)("history on a real PostgreSQL", () => {
  let server: PostgresServer;
  beforeAll(async () => {
    if (binaries === undefined) {
      throw new Error("no PostgreSQL was found, and MERIDIAN_REQUIRE_SERVICES is 1");
    }
    server = await startPostgresServer(binaries);
  });
  afterAll(() => server.stop());
  declareCases(() => server.url);
});
