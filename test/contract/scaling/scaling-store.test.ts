import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openHistory } from "#regional/history/index.ts";
import type { RegionalDatabase } from "#regional/history/index.ts";
import { migrationsDir } from "#test/contract/history/harness.ts";
import { MemoryScalingStore } from "#test/support/memory-scaling-store.ts";
import { findPostgres, startPostgresServer } from "#test/support/postgres-server.ts";
import type { PostgresServer } from "#test/support/postgres-server.ts";
import { scalingCases } from "./cases.ts";

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "meridian-scaling-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

let regions = 0;

function declareCases(database: () => string): void {
  let store: RegionalDatabase;
  beforeAll(async () => {
    store = await openHistory({
      database: database(),
      dataDir: folder,
      migrationsDir,
      onLog: () => {},
    });
  });
  afterAll(() => store.close());

  test.for(scalingCases)("$name", async (one) => {
    expect.hasAssertions();
    regions += 1;
    await one.run(store.scalingOf(`region-${regions}`), expect);
  });

  test("two regions of one database have a lease each", async () => {
    const deadlineMs = Date.now() + 20_000;
    const lease = { token: 1 };
    const [one, other] = [store.scalingOf("one"), store.scalingOf("other")];
    expect(await one.acquire("a", 60_000, deadlineMs)).toStrictEqual(lease);
    expect(await other.acquire("b", 60_000, deadlineMs)).toStrictEqual(lease);
  });
}

describe("what scalers share, in memory", () => {
  test.for(scalingCases)("$name", async (one) => {
    expect.hasAssertions();
    await one.run(new MemoryScalingStore(() => Date.now()), expect);
  });
});

describe("what scalers share, in PGlite", () => {
  declareCases(() => "embedded");
});

const binaries = findPostgres();
describe.skipIf(binaries === undefined)("what scalers share, in PostgreSQL", () => {
  let server: PostgresServer;
  beforeAll(async () => {
    server = await startPostgresServer(binaries ?? "");
  });
  afterAll(() => server.stop());
  declareCases(() => server.url);

  test("a database that is away answers unavailable by the deadline, and changes nothing", async () => {
    const store = await openHistory({
      database: server.url.replace(String(server.port), "1"),
      dataDir: folder,
      migrationsDir,
      onLog: () => {},
    });
    const scaling = store.scalingOf("away");
    const deadlineMs = Date.now() + 500;
    expect(await scaling.acquire("a", 60_000, deadlineMs)).toBe("unavailable");
    expect(await scaling.demand(deadlineMs)).toBe("unavailable");
    expect(await scaling.keepPlan({ model: "m", token: 1, plan: "", state: "" }, deadlineMs)).toBe(
      "unavailable",
    );
    await store.close();
  });
});
