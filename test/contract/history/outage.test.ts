import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import postgres from "postgres";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { HistoryLog } from "#regional/history/index.ts";
import type { HistoryReply, HistoryStore } from "#shared/protocol/internal/history.ts";
import { findPostgres, startPostgresServer } from "#test/support/postgres-server.ts";
import type { PostgresServer } from "#test/support/postgres-server.ts";
import { startDatabaseProcess } from "./database-process.ts";
import type { DatabaseProcess } from "./database-process.ts";
import { startFaultyProxy } from "./faulty-proxy.ts";
import type { FaultyProxy } from "./faulty-proxy.ts";
import { aConversation, anAppend, eventually, openStore, readSeqs, soon } from "./harness.ts";

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "meridian-outage-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

let open: HistoryStore[] = [];
afterEach(async () => {
  await Promise.all(open.map((store) => store.close()));
  open = [];
});
async function openOn(url: string): Promise<{ store: HistoryStore; logs: HistoryLog[] }> {
  const opened = await openStore(url, folder);
  open.push(opened.store);
  return opened;
}

/** Repeats a command until the database has answered it, as an outbox does. */
async function deliver(
  store: HistoryStore,
  command: Parameters<HistoryStore["execute"]>[0],
): Promise<HistoryReply> {
  let reply: HistoryReply = { kind: "unavailable" };
  await eventually(async () => {
    reply = await store.execute(command, Date.now() + 2_000);
    return reply.kind !== "unavailable";
  });
  return reply;
}

/** Declares what must hold behind a broken connection, whichever server is at its end. */
function declareConnectionFaults(target: () => string): void {
  let proxy: FaultyProxy;
  beforeEach(async () => {
    proxy = await startFaultyProxy(target());
  });
  afterEach(() => proxy.close());

  test("knows a batch again whose commit was acknowledged to nobody", async () => {
    const { store } = await openOn(proxy.url);
    const key = aConversation();
    await deliver(store, anAppend(key, [1, 1]));
    proxy.setMode("cutAtCommit");
    const lost = await store.execute(anAppend(key, [2, 3]), soon());
    expect(lost).toEqual({ kind: "unavailable" });
    expect(proxy.cut()).toBeGreaterThan(0);
    proxy.setMode("pass");
    expect(await deliver(store, anAppend(key, [2, 3]))).toEqual({ kind: "duplicate" });
    expect(await deliver(store, anAppend(key, [4, 4]))).toEqual({ kind: "applied" });
    expect(await readSeqs(store, key)).toEqual([1, 2, 3, 4]);
  });

  test("writes nothing of a transaction that was cut, and everything when it is sent again", async () => {
    const { store } = await openOn(proxy.url);
    const key = aConversation();
    await deliver(store, anAppend(key, [1, 1]));
    proxy.setMode("cutInTransaction");
    const lost = await store.execute(anAppend(key, [2, 3]), soon());
    expect(lost).toEqual({ kind: "unavailable" });
    expect(proxy.cut()).toBeGreaterThan(0);
    proxy.setMode("pass");
    expect(await deliver(store, anAppend(key, [2, 3]))).toEqual({ kind: "applied" });
    expect(await readSeqs(store, key)).toEqual([1, 2, 3]);
  });

  test("answers by the deadline while the server is silent, and recovers without a restart", async () => {
    const { store, logs } = await openOn(proxy.url);
    const key = aConversation();
    await deliver(store, anAppend(key, [1, 1]));
    proxy.setMode("hang");
    const begunMs = performance.now();
    const replies = await Promise.all([
      store.execute(anAppend(key, [2, 2]), Date.now() + 300),
      store.ping(Date.now() + 300),
      store.read(key.tenant, key.conversationId, 0, 10, Date.now() + 300),
    ]);
    expect(replies).toEqual([{ kind: "unavailable" }, false, "unavailable"]);
    expect(performance.now() - begunMs).toBeLessThan(1_500);
    await eventually(async () => logs.some((log) => log.reason === "hang"));
    proxy.setMode("pass");
    expect(await deliver(store, anAppend(key, [2, 2]))).toEqual({ kind: "applied" });
    expect(await readSeqs(store, key)).toEqual([1, 2]);
  });

  test("answers by the deadline while connections are closed at once, and does not storm", async () => {
    proxy.setMode("close");
    const { store } = await openOn(proxy.url);
    const key = aConversation();
    for (let call = 0; call < 5; call += 1) {
      const begunMs = performance.now();
      const reply = await store.execute(anAppend(key, [1, 1]), Date.now() + 200);
      expect(reply).toEqual({ kind: "unavailable" });
      expect(performance.now() - begunMs).toBeLessThan(1_500);
    }
    expect(proxy.accepted()).toBeLessThan(50);
    proxy.setMode("pass");
    expect(await deliver(store, anAppend(key, [1, 1]))).toEqual({ kind: "applied" });
  });
}

/** Declares what must hold when the server itself goes and comes back on its port. */
function declareServerFaults(server: {
  readonly url: () => string;
  readonly crash: () => Promise<unknown>;
  readonly start: () => Promise<unknown>;
}): void {
  test("opens while the database is down, and writes when it comes up", async () => {
    await server.crash();
    const { store } = await openOn(server.url());
    const key = aConversation();
    expect(await store.ping(Date.now() + 500)).toBe(false);
    const reply = await store.execute(anAppend(key, [1, 1]), Date.now() + 500);
    expect(reply).toEqual({ kind: "unavailable" });
    await server.start();
    expect(await deliver(store, anAppend(key, [1, 1]))).toEqual({ kind: "applied" });
  });

  test("loses nothing that it confirmed when the database crashes, and goes on without a restart", async () => {
    const { store, logs } = await openOn(server.url());
    const key = aConversation();
    await deliver(store, anAppend(key, [1, 2]));
    await server.crash();
    const begunMs = performance.now();
    const reply = await store.execute(anAppend(key, [3, 3]), Date.now() + 1_000);
    expect(reply).toEqual({ kind: "unavailable" });
    expect(performance.now() - begunMs).toBeLessThan(2_500);
    await server.start();
    expect(await deliver(store, anAppend(key, [3, 3]))).toEqual({ kind: "applied" });
    expect(await readSeqs(store, key)).toEqual([1, 2, 3]);
    expect(logs.map((log) => log.event)).toContain("history_unavailable");
  });
}

describe("a broken connection to the development database", () => {
  let server: DatabaseProcess;
  beforeAll(async () => {
    server = await startDatabaseProcess(join(folder, "served"));
  });
  afterAll(async () => {
    await server.end("SIGTERM");
  });
  declareConnectionFaults(() => server.url);
});

describe("a development database that is killed", () => {
  const dataDir = (): string => join(folder, "killed");
  let server: DatabaseProcess;
  let port = "0";
  beforeAll(async () => {
    server = await startDatabaseProcess(dataDir());
    ({ port } = new URL(server.url));
  });
  afterAll(async () => {
    await server.end("SIGTERM");
  });
  declareServerFaults({
    url: () => server.url,
    crash: () => server.end("SIGKILL"),
    start: async () => {
      server = await startDatabaseProcess(dataDir(), ["--port", port]);
    },
  });
});

const binaries = findPostgres();
const isSkipped = binaries === undefined && process.env["MERIDIAN_REQUIRE_SERVICES"] !== "1";
if (isSkipped) {
  console.warn(
    "SKIPPED: no PostgreSQL in PATH or /usr/lib/postgresql; its outages were tried on PGlite only",
  );
}

describe.skipIf(isSkipped)("a real PostgreSQL", () => {
  let server: PostgresServer;
  beforeAll(async () => {
    if (binaries === undefined) {
      throw new Error("no PostgreSQL was found, and MERIDIAN_REQUIRE_SERVICES is 1");
    }
    server = await startPostgresServer(binaries);
  });
  afterAll(() => server.stop());
  declareConnectionFaults(() => server.url);
  declareServerFaults({
    url: () => server.url,
    crash: () => server.crash(),
    start: () => server.start(),
  });

  test("migrates again when the database was emptied under it", async () => {
    const { store } = await openOn(server.url);
    const key = aConversation();
    await deliver(store, anAppend(key, [1, 1]));
    const sql = postgres(server.url, { max: 1, onnotice: () => undefined });
    await sql`drop schema public cascade`;
    await sql`drop schema drizzle cascade`;
    await sql`create schema public`;
    await sql.end();
    expect(await deliver(store, anAppend(key, [2, 2]))).toEqual({ kind: "gap", nextSeq: 1 });
    expect(await deliver(store, anAppend(key, [1, 2]))).toEqual({ kind: "applied" });
  });

  test("answers unavailable to a role that may not write, and reports the code", async () => {
    const { store } = await openOn(server.url);
    await deliver(store, anAppend(aConversation(), [1, 1]));
    const sql = postgres(server.url, { max: 1 });
    await sql`create role reader login`;
    await sql`grant usage on schema public, drizzle to reader`;
    await sql`grant select on all tables in schema public, drizzle to reader`;
    await sql.end();
    const reader = await openOn(server.url.replace("postgres@", "reader@"));
    await eventually(() => reader.store.ping(Date.now() + 1_000));
    const reply = await reader.store.execute(anAppend(aConversation(), [1, 1]), soon());
    expect(reply).toEqual({ kind: "unavailable" });
    expect(reader.logs.at(-1)).toEqual({ event: "history_refused", reason: "42501" });
    expect(await reader.store.ping(soon())).toBe(true);
  });
});

test("answers at once while nothing listens on the port", async () => {
  const probe = createServer();
  await new Promise<void>((resolve) => {
    probe.listen(0, "127.0.0.1", resolve);
  });
  const { port } = probe.address() as AddressInfo;
  await new Promise<void>((resolve) => {
    probe.close(() => resolve());
  });
  const { store, logs } = await openOn(`postgres://postgres@127.0.0.1:${port}/postgres`);
  expect(await store.ping(Date.now() + 5_000)).toBe(false);
  expect(logs[0]).toEqual({ event: "history_unavailable", reason: "ECONNREFUSED" });
});

test("stays unavailable, without an error, on a URL that is none", async () => {
  const { store, logs } = await openOn("no url at all");
  expect(await store.ping(Date.now() + 1_000)).toBe(false);
  expect(logs[0]?.event).toBe("history_unavailable");
  expect(JSON.stringify(logs)).not.toContain("no url at all");
});
