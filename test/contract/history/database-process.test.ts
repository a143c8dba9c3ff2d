import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import postgres from "postgres";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { spawnDatabase, startDatabaseProcess } from "./database-process.ts";
import type { DatabaseProcess } from "./database-process.ts";
import { aConversation, anAppend, openStore, readSeqs, soon } from "./harness.ts";

let folder: string;
let server: DatabaseProcess;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "meridian-database-"));
  server = await startDatabaseProcess(join(folder, "shared"));
});
afterAll(async () => {
  await server.end("SIGTERM");
  rmSync(folder, { recursive: true, force: true });
});

function client(max = 5, more: postgres.Options<Record<string, never>> = {}): postgres.Sql {
  return postgres(server.url, { max, fetch_types: false, onnotice: () => undefined, ...more });
}

describe("several clients of one development database", () => {
  test.for([true, false])("get their own rows (prepared statements: %s)", async (prepare) => {
    const pools = [client(5, { prepare }), client(5, { prepare }), client(5, { prepare })];
    const wrong: unknown[] = [];
    for (let round = 0; round < 10; round += 1) {
      await Promise.all(
        pools.flatMap((sql, pool) =>
          [0, 1, 2, 3, 4, 5].map(async (n) => {
            const marker = `${round}-${pool}-${n}`;
            const [row] = await sql`select ${marker}::text as marker, ${n}::int as n`;
            if (row?.["marker"] !== marker || row["n"] !== n) wrong.push(row);
          }),
        ),
      );
    }
    await Promise.all(pools.map((sql) => sql.end()));
    expect(wrong).toEqual([]);
  });

  test("see a cell's rows while it writes", async () => {
    const { store } = await openStore(server.url, folder);
    const outside = client(2);
    const key = aConversation();
    await store.ping(soon());
    const counts: number[] = [];
    for (let seq = 1; seq <= 10; seq += 1) {
      const [reply, rows] = await Promise.all([
        store.execute(anAppend(key, [seq, seq]), soon()),
        outside`select count(*)::int as n from items where conversation_id = ${key.conversationId}`,
      ]);
      expect(reply).toEqual({ kind: "applied" });
      counts.push(Number(rows[0]?.["n"]));
    }
    expect(counts.every((count, index) => count === index || count === index + 1)).toBe(true);
    expect(await readSeqs(store, key)).toHaveLength(10);
    await outside.end();
    await store.close();
  });

  test("do not see an open transaction, and wait for it", async () => {
    const writer = client(1);
    const reader = client(1);
    await writer`create table if not exists notes (n int)`;
    const { promise: hold, resolve: release } = Promise.withResolvers<void>();
    const { promise: begun, resolve: begin } = Promise.withResolvers<void>();
    const written = writer.begin(async (transaction) => {
      await transaction`insert into notes values (1)`;
      begin();
      await hold;
    });
    await begun;
    let isRead = false;
    const read = reader`select n from notes`.then((rows) => {
      isRead = true;
      return [...rows];
    });
    expect(isRead).toBe(false);
    release();
    await written;
    expect(await read).toEqual([{ n: 1 }]);
    await Promise.all([writer, reader].map((sql) => sql.end()));
  });

  test("are not held up by one that vanished in the middle of a transaction", async () => {
    const { hostname, port } = new URL(server.url);
    const before = client(1);
    await before`create table if not exists leftovers (n int)`;
    const socket = connect(Number(port), hostname);
    const startup = Buffer.from(
      "\0\0\0\0\0\u0003\0\0user\0postgres\0database\0postgres\0\0",
      "latin1",
    );
    startup.writeInt32BE(startup.length, 0);
    socket.write(startup);
    await untilIdle(socket);
    const text = Buffer.from("Q\0\0\0\0begin; insert into leftovers values (1)\0", "latin1");
    text.writeInt32BE(text.length - 1, 1);
    socket.write(text);
    await untilIdle(socket);
    socket.destroy();
    expect([...(await before`select n from leftovers`)]).toEqual([]);
    await before.end();
  });

  test("are not disturbed by bytes that are no protocol", async () => {
    const { hostname, port } = new URL(server.url);
    const socket = connect(Number(port), hostname);
    socket.on("error", () => undefined);
    socket.write("GET / HTTP/1.1\r\nhost: x\r\n\r\n");
    await once(socket, "close");
    const sql = client(1);
    expect([...(await sql`select 1 as one`)]).toEqual([{ one: 1 }]);
    await sql.end();
  });
});

/** Waits for the server's ReadyForQuery. */
async function untilIdle(socket: ReturnType<typeof connect>): Promise<void> {
  for (;;) {
    const [piece] = (await once(socket, "data")) as [Buffer];
    if (piece.subarray(-6, -1).equals(Buffer.from("Z\0\0\0\u0005", "latin1"))) return;
  }
}

describe("the development database as a process", () => {
  test("says where it listens, keeps its rows, and ends with code 0 on SIGTERM", async () => {
    const dataDir = join(folder, "kept");
    const first = await startDatabaseProcess(dataDir);
    expect(first.line).toMatchObject({ event: "listening", region: "eu-west-1" });
    const sql = postgres(first.url, { max: 1 });
    await sql`create table kept (n int)`;
    await sql`insert into kept values (7)`;
    expect(await first.end("SIGTERM")).toBe(0);
    await sql.end({ timeout: 0 });

    const second = await startDatabaseProcess(dataDir, ["--exit-with-parent"]);
    const again = postgres(second.url, { max: 1 });
    expect([...(await again`select n from kept`)]).toEqual([{ n: 7 }]);
    await again.end();
    expect(await second.end("closeStdin")).toBe(0);
  });

  test.for([
    [["--region", "eu-west-1", "--data", "x", "--nonsense"], /--nonsense/],
    [["--region", "eu-west-1"], /--data: got nothing/],
    [["--region", "EU!", "--data", "x"], /--region: got "EU!"/],
    [["--region", "eu-west-1", "--data", "x", "--port", "70000"], /--port: got "70000"/],
  ] as const)("refuses %j with code 2", async ([flags, message]) => {
    expect(await failureOf(flags)).toEqual({ code: 2, message: expect.stringMatching(message) });
  });

  test("ends with code 1 when its port is taken or its folder is a file", async () => {
    const { port } = new URL(server.url);
    const base = ["--region", "eu-west-1", "--data"];
    const taken = await failureOf([...base, join(folder, "taken"), "--port", port]);
    expect(taken).toEqual({ code: 1, message: expect.stringContaining("EADDRINUSE") });
    const file = join(folder, "file");
    writeFileSync(file, "");
    expect(await failureOf([...base, file])).toMatchObject({ code: 1 });
  });
});

async function failureOf(flags: readonly string[]) {
  const child = spawnDatabase(flags);
  let message = "";
  child.stderr.on("data", (piece: Buffer) => {
    message += piece.toString("utf8");
  });
  const [code] = await once(child, "close");
  return { code: Number(code), message };
}
