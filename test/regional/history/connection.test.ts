import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { PGlite } from "@electric-sql/pglite";
import { drizzle } from "drizzle-orm/pglite";
import { DatabaseConnection } from "#regional/history/connection.ts";
import type { HistoryLog } from "#regional/history/index.ts";
import type { DatabaseSession, HistoryDatabase } from "#regional/history/session.ts";
import { InvariantError } from "#shared/errors/invariant.ts";

const answered = { isAnswered: true, value: "ok" } as const;
const unavailable = { isAnswered: false } as const;

/** A driver's error, as drizzle wraps it. */
function failure(code: string): Error {
  return new Error("Failed query: secret", { cause: Object.assign(new Error("secret"), { code }) });
}

/** A connection on sessions whose every step the test decides. */
function setUp(options: { readonly isRemote?: boolean } = {}) {
  const logs: HistoryLog[] = [];
  const ends: string[] = [];
  let opens = 0;
  let openWith: () => Promise<void> = async () => undefined;
  let probeWith: () => Promise<unknown> = async () => undefined;
  const connection = new DatabaseConnection({
    open: async (): Promise<DatabaseSession> => {
      opens += 1;
      const n = opens;
      await openWith();
      return {
        db: { execute: () => probeWith() } as unknown as HistoryDatabase,
        isRemote: options.isRemote ?? true,
        end: async (how) => void ends.push(`${n} ${how}`),
      };
    },
    migrate: async () => undefined,
    onLog: (log) => logs.push(log),
    clock: () => Date.now(),
  });
  return {
    connection,
    logs,
    ends,
    opens: () => opens,
    onOpen: (step: () => Promise<void>) => void (openWith = step),
    onProbe: (step: () => Promise<unknown>) => void (probeWith = step),
    call: (operation: () => Promise<string> = async () => "ok", timeoutMs = 1_000) =>
      connection.call(Date.now() + timeoutMs, operation),
  };
}

const never = (): Promise<never> => new Promise(() => undefined);

beforeEach(() => {
  vi.useFakeTimers({ now: 1_000_000 });
});
afterEach(() => {
  vi.useRealTimers();
});

describe("a connection", () => {
  test("opens one session for calls that come at once, and keeps it", async () => {
    const { call, opens, logs } = setUp();
    expect(await Promise.all([call(), call(), call()])).toEqual([answered, answered, answered]);
    expect(await call()).toEqual(answered);
    expect(opens()).toBe(1);
    expect(logs).toEqual([{ event: "history_connected", reason: "postgres" }]);
  });

  test("doubles the pause between tries up to 2 s, and begins anew after an answer", async () => {
    const { call, opens, onOpen } = setUp();
    onOpen(() => Promise.reject(failure("ECONNREFUSED")));
    for (const pauseMs of [100, 200, 400, 800, 1_600, 2_000, 2_000]) {
      const before = opens();
      expect(await call()).toEqual(unavailable);
      expect(opens()).toBe(before + 1);
      vi.advanceTimersByTime(pauseMs - 1);
      await call();
      expect(opens()).toBe(before + 1);
      vi.advanceTimersByTime(1);
    }
    onOpen(async () => undefined);
    expect(await call()).toEqual(answered);
    expect(await call(() => Promise.reject(failure("08006")))).toEqual(unavailable);
    vi.advanceTimersByTime(100);
    expect(await call()).toEqual(answered);
  });

  test("gives a session up whose first query hangs for 3 s, while callers left at their deadlines", async () => {
    const { call, onProbe, ends, logs } = setUp();
    onProbe(never);
    const early = call(undefined, 50);
    await vi.advanceTimersByTimeAsync(50);
    expect(await early).toEqual(unavailable);
    expect(ends).toEqual([]);
    await vi.advanceTimersByTimeAsync(2_950);
    expect(ends).toEqual(["1 now"]);
    expect(logs).toEqual([{ event: "history_unavailable", reason: "hang" }]);
  });

  test("retires a session on which a statement hangs for 2 s, and frees what else ran on it", async () => {
    const { call, ends, logs } = setUp();
    await call();
    const short = call(never, 100);
    const long = call(never, 60_000);
    await vi.advanceTimersByTimeAsync(100);
    expect(await short).toEqual(unavailable);
    await vi.advanceTimersByTimeAsync(1_899);
    expect(ends).toEqual([]);
    await vi.advanceTimersByTimeAsync(1);
    expect(ends).toEqual(["1 now"]);
    expect(await long).toEqual(unavailable);
    expect(logs.at(-1)).toEqual({ event: "history_unavailable", reason: "hang" });
    vi.advanceTimersByTime(100);
    expect(await call()).toEqual(answered);
  });

  test("never retires an embedded database for being slow", async () => {
    const { call, ends } = setUp({ isRemote: false });
    const slow = call(never, 100);
    await vi.advanceTimersByTimeAsync(60_000);
    expect(await slow).toEqual(unavailable);
    expect(ends).toEqual([]);
    expect(await call()).toEqual(answered);
  });

  test("runs a transaction that lost against another three times at most", async () => {
    const { call, ends, logs } = setUp();
    let runs = 0;
    const losing = (times: number) => async (): Promise<string> => {
      runs += 1;
      if (runs <= times) throw failure("40001");
      return "ok";
    };
    expect(await call(losing(2))).toEqual(answered);
    expect(runs).toBe(3);
    runs = 0;
    expect(await call(losing(9))).toEqual(unavailable);
    expect(runs).toBe(3);
    expect(ends).toEqual([]);
    expect(logs.at(-1)).toEqual({ event: "history_refused", reason: "40001" });
  });

  test("keeps the session when a statement is refused, and drops it when the connection is gone", async () => {
    const { call, ends, logs } = setUp();
    expect(await call(() => Promise.reject(failure("53100")))).toEqual(unavailable);
    expect(ends).toEqual([]);
    for (const code of ["CONNECTION_CLOSED", "ECONNRESET", "57P01", "25006", "42P01"]) {
      await call();
      expect(await call(() => Promise.reject(failure(code)))).toEqual(unavailable);
      vi.advanceTimersByTime(2_000);
    }
    expect(ends).toHaveLength(5);
    expect(JSON.stringify(logs)).not.toContain("secret");
  });

  test("throws bugs, and counts an error without a code as a broken connection", async () => {
    const { call, ends } = setUp();
    await expect(call(() => Promise.reject(new InvariantError("a bug")))).rejects.toThrow("a bug");
    expect(ends).toEqual([]);
    expect(await call(() => Promise.reject(new Error("what?")))).toEqual(unavailable);
    expect(ends).toEqual(["1 now"]);
  });

  test("refuses the 257th call at once, and takes calls again when others have ended", async () => {
    const { call } = setUp();
    await call();
    const { promise, resolve } = Promise.withResolvers<string>();
    const waiting = Array.from({ length: 256 }, () => call(() => promise));
    expect(await call()).toEqual(unavailable);
    resolve("ok");
    expect(await Promise.all(waiting)).toEqual(waiting.map(() => answered));
    expect(await call()).toEqual(answered);
  });

  test("frees the places of calls that hung", async () => {
    const { call } = setUp();
    await call();
    const hung = Array.from({ length: 256 }, () => call(never, 100));
    await vi.advanceTimersByTimeAsync(2_000);
    expect(await Promise.all(hung)).toEqual(hung.map(() => unavailable));
    vi.advanceTimersByTime(100);
    expect(await call()).toEqual(answered);
  });

  test("does not begin an operation after its deadline", async () => {
    const { call, onOpen } = setUp();
    const { promise, resolve } = Promise.withResolvers<void>();
    onOpen(() => promise);
    const operation = vi.fn<() => Promise<string>>(async () => "ok");
    const late = call(operation, 100);
    await vi.advanceTimersByTimeAsync(100);
    expect(await late).toEqual(unavailable);
    resolve();
    await vi.advanceTimersByTimeAsync(0);
    expect(operation).not.toHaveBeenCalled();
    expect(await call(operation, 0)).toEqual(unavailable);
    expect(operation).not.toHaveBeenCalled();
  });

  test("ends a session that is still being made when it is closed, and makes no other", async () => {
    const { connection, call, onOpen, ends, opens, logs } = setUp();
    const { promise, resolve } = Promise.withResolvers<void>();
    onOpen(() => promise);
    connection.prepare();
    const closed = connection.close();
    resolve();
    await closed;
    expect(ends).toEqual(["1 now"]);
    expect(await call()).toEqual(unavailable);
    expect(opens()).toBe(1);
    expect(logs).toEqual([]);
  });
});

test("tells a table that is missing from other refusals of a real database", async () => {
  vi.useRealTimers();
  const client = await PGlite.create();
  const logs: HistoryLog[] = [];
  const connection = new DatabaseConnection({
    open: async () => ({
      db: drizzle({ client }),
      isRemote: false,
      end: async () => undefined,
    }),
    migrate: async () => undefined,
    onLog: (log) => logs.push(log),
    clock: () => Date.now(),
  });
  const soon = (): number => Date.now() + 10_000;
  await connection.call(soon(), (db) => db.execute("select 1 / 0"));
  await connection.call(soon(), (db) => db.execute("select * from missing"));
  await client.close();
  expect(logs.map((log) => `${log.event} ${log.reason}`)).toEqual([
    "history_connected embedded",
    "history_refused 22012",
    "history_unavailable 42P01",
  ]);
});
