import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openHistory } from "#regional/history/index.ts";
import type { RegionalDatabase } from "#regional/history/index.ts";
import { migrationsDir } from "#test/contract/history/harness.ts";
import { findPostgres, startPostgresServer } from "#test/support/postgres-server.ts";
import type { PostgresServer } from "#test/support/postgres-server.ts";

const reference = { model: "m", revision: "r1", prompt: "Count.", answer: [12, 7] };
const soon = (): number => Date.now() + 20_000;

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "meridian-canaries-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function open(database: string): Promise<RegionalDatabase> {
  return openHistory({ database, dataDir: folder, migrationsDir, onLog: () => {} });
}

function declareCases(database: () => string): void {
  test("references outlive who kept them; each cell has its own, and the last one counts", async () => {
    const before = await open(database());
    const own = before.canariesOf("eu-west-1a");
    expect(await own.read(soon())).toStrictEqual([]);
    expect(await own.keep(reference, soon())).toBe("kept");
    expect(await own.keep({ ...reference, answer: ["ä", "b"] }, soon())).toBe("kept");
    expect(await own.keep({ ...reference, revision: "r2" }, soon())).toBe("kept");
    await before.close();
    const after = await open(database());
    const rows = await after.canariesOf("eu-west-1a").read(soon());
    expect(rows).toHaveLength(2);
    expect(rows).toContainEqual({ ...reference, answer: ["ä", "b"] });
    expect(rows).toContainEqual({ ...reference, revision: "r2" });
    expect(await after.canariesOf("eu-west-1b").read(soon())).toStrictEqual([]);
    await after.close();
  });
}

describe("the references of canaries in PGlite", () => {
  declareCases(() => "embedded");
});

const binaries = findPostgres();
describe.skipIf(binaries === undefined)("the references of canaries in PostgreSQL", () => {
  let server: PostgresServer;
  beforeAll(async () => {
    server = await startPostgresServer(binaries ?? "");
  });
  afterAll(() => server.stop());
  declareCases(() => server.url);

  test("a database that is away answers unavailable by the deadline", async () => {
    const away = await open(server.url.replace(String(server.port), "1"));
    const store = away.canariesOf("eu-west-1a");
    expect(await store.read(Date.now() + 300)).toBe("unavailable");
    expect(await store.keep(reference, Date.now() + 300)).toBe("unavailable");
    await away.close();
  });
});
