import { vi } from "vitest";
import type { ExpectStatic } from "vitest";

import type { KvHarness } from "./harness.ts";

/** One behaviour that every engine must show through the real client. The database is empty when it starts. */
export interface KvCase {
  readonly name: string;
  readonly run: (kv: KvHarness, expect: ExpectStatic) => Promise<void>;
}

const wrongType = /WRONGTYPE Operation against a key holding the wrong kind of value/;

/** Exact answers of commands without the client's decoding: each row runs on an empty database after its `given`. */
const rawRows: readonly {
  readonly given?: readonly (readonly (string | number)[])[];
  readonly command: readonly (string | number)[];
  readonly answers: unknown;
}[] = [
  { command: ["PING"], answers: { result: "PONG" } },
  { command: ["PING", "hello"], answers: { result: "hello" } },
  { command: ["ECHO", "hello"], answers: { result: "hello" } },
  { command: ["GET", "none"], answers: { result: null } },
  { command: ["SET", "k", "v"], answers: { result: "OK" } },
  { given: [["SET", "k", "1"]], command: ["SET", "k", "2", "NX"], answers: { result: null } },
  { command: ["SET", "k", "2", "XX"], answers: { result: null } },
  { given: [["SET", "k", "1"]], command: ["SET", "k", "2", "GET"], answers: { result: "1" } },
  { command: ["SET", "k", "1", "GET"], answers: { result: null } },
  {
    given: [
      ["SET", "k", "1", "EX", 100],
      ["SET", "k", "2"],
    ],
    command: ["TTL", "k"],
    answers: { result: -1 },
  },
  {
    given: [
      ["SET", "k", "1", "EX", 100],
      ["SET", "k", "2", "KEEPTTL"],
    ],
    command: ["TTL", "k"],
    answers: { result: 100 },
  },
  { command: ["SET", "k", "1", "EX"], answers: { error: "ERR syntax error" } },
  {
    command: ["SET", "k", "1", "EX", 0],
    answers: { error: "ERR invalid expire time in 'set' command" },
  },
  {
    command: ["SET", "k", "1", "PX", "1.5"],
    answers: { error: "ERR value is not an integer or out of range" },
  },
  { command: ["SET", "k", "1", "EX", 1, "PX", 1], answers: { error: "ERR syntax error" } },
  { command: ["SET", "k", "1", "NX", "XX"], answers: { error: "ERR syntax error" } },
  {
    given: [["SADD", "k", "m"]],
    command: ["SET", "k", "1", "GET"],
    answers: { error: "WRONGTYPE Operation against a key holding the wrong kind of value" },
  },
  {
    given: [["SADD", "k", "m"]],
    command: ["MGET", "k", "none"],
    answers: { result: [null, null] },
  },
  {
    command: ["MSET", "a", "1", "b"],
    answers: { error: "ERR wrong number of arguments for 'mset' command" },
  },
  { command: ["GET"], answers: { error: "ERR wrong number of arguments for 'get' command" } },
  {
    given: [["MSET", "a", "1", "b", "2"]],
    command: ["EXISTS", "a", "b", "a", "none"],
    answers: { result: 3 },
  },
  {
    given: [["MSET", "a", "1", "b", "2"]],
    command: ["DEL", "a", "a", "none"],
    answers: { result: 1 },
  },
  { given: [["MSET", "a", "1", "b", "2"]], command: ["UNLINK", "a", "b"], answers: { result: 2 } },
  { given: [["SET", "k", "v"]], command: ["GETDEL", "k"], answers: { result: "v" } },
  { given: [["SET", "k", "żó"]], command: ["STRLEN", "k"], answers: { result: 4 } },
  { given: [["SET", "k", "5"]], command: ["INCR", "k"], answers: { result: 6 } },
  { command: ["INCRBY", "k", "-3"], answers: { result: -3 } },
  { given: [["SET", "k", "5"]], command: ["DECR", "k"], answers: { result: 4 } },
  { given: [["SET", "k", "5"]], command: ["DECRBY", "k", 7], answers: { result: -2 } },
  {
    given: [["SET", "k", "05"]],
    command: ["INCR", "k"],
    answers: { error: "ERR value is not an integer or out of range" },
  },
  {
    given: [["SET", "k", "9223372036854775807"]],
    command: ["INCR", "k"],
    answers: { error: "ERR increment or decrement would overflow" },
  },
  { command: ["TTL", "none"], answers: { result: -2 } },
  { command: ["EXPIRE", "none", 10], answers: { result: 0 } },
  { given: [["SET", "k", "1"]], command: ["EXPIRE", "k", -1], answers: { result: 1 } },
  {
    given: [
      ["SET", "k", "1"],
      ["EXPIRE", "k", -1],
    ],
    command: ["GET", "k"],
    answers: { result: null },
  },
  {
    given: [["SET", "k", "1", "EX", 100]],
    command: ["EXPIRE", "k", 50, "GT"],
    answers: { result: 0 },
  },
  {
    given: [["SET", "k", "1", "EX", 100]],
    command: ["EXPIRE", "k", 50, "LT"],
    answers: { result: 1 },
  },
  {
    given: [["SET", "k", "1", "EX", 100]],
    command: ["PEXPIRE", "k", 50_000, "NX"],
    answers: { result: 0 },
  },
  { given: [["SET", "k", "1"]], command: ["EXPIRE", "k", 50, "XX"], answers: { result: 0 } },
  {
    given: [["SET", "k", "1"]],
    command: ["EXPIRE", "k", 50, "YY"],
    answers: { error: "ERR Unsupported option YY" },
  },
  { given: [["SET", "k", "1", "EX", 100]], command: ["PERSIST", "k"], answers: { result: 1 } },
  { given: [["SET", "k", "1"]], command: ["PERSIST", "k"], answers: { result: 0 } },
  { command: ["HSET", "h", "a", "1", "b", "2", "a", "3"], answers: { result: 2 } },
  {
    command: ["HSET", "h", "a"],
    answers: { error: "ERR wrong number of arguments for 'hset' command" },
  },
  {
    command: ["HSET", "h", "a", "1", "b"],
    answers: { error: "ERR wrong number of arguments for 'hset' command" },
  },
  {
    given: [["HSET", "h", "a", "1"]],
    command: ["HMGET", "h", "none", "a"],
    answers: { result: [null, "1"] },
  },
  { command: ["HMGET", "none", "a", "b"], answers: { result: [null, null] } },
  { command: ["HGETALL", "none"], answers: { result: [] } },
  { given: [["HSET", "h", "a", "1"]], command: ["HDEL", "h", "a", "none"], answers: { result: 1 } },
  {
    given: [
      ["HSET", "h", "a", "1"],
      ["HDEL", "h", "a"],
    ],
    command: ["EXISTS", "h"],
    answers: { result: 0 },
  },
  { given: [["HSET", "h", "a", "1"]], command: ["HEXISTS", "h", "a"], answers: { result: 1 } },
  { given: [["HSET", "h", "a", "1"]], command: ["HLEN", "h"], answers: { result: 1 } },
  { given: [["HSET", "h", "a", "4"]], command: ["HINCRBY", "h", "a", 3], answers: { result: 7 } },
  {
    given: [["HSET", "h", "a", "x"]],
    command: ["HINCRBY", "h", "a", 3],
    answers: { error: "ERR hash value is not an integer" },
  },
  { given: [["SADD", "s", "a"]], command: ["SADD", "s", "a", "b", "b"], answers: { result: 1 } },
  { given: [["SADD", "s", "a"]], command: ["SREM", "s", "a", "none"], answers: { result: 1 } },
  {
    given: [
      ["SADD", "s", "a"],
      ["SREM", "s", "a"],
    ],
    command: ["TYPE", "s"],
    answers: { result: "none" },
  },
  { given: [["SADD", "s", "a"]], command: ["SISMEMBER", "s", "none"], answers: { result: 0 } },
  { given: [["SADD", "s", "a", "b"]], command: ["SCARD", "s"], answers: { result: 2 } },
  { given: [["HSET", "h", "a", "1"]], command: ["TYPE", "h"], answers: { result: "hash" } },
  { given: [["MSET", "a", "1", "b", "2"]], command: ["DBSIZE"], answers: { result: 2 } },
  {
    given: [["MSET", "x[1]", "1", "xa", "2", "xb", "3"]],
    command: ["KEYS", "x[^b-z]"],
    answers: { result: ["xa"] },
  },
  {
    given: [["MSET", "x[1]", "1", "xa", "2"]],
    command: ["KEYS", "x\\[*"],
    answers: { result: ["x[1]"] },
  },
  {
    given: [["MSET", "ab", "1", "abc", "2"]],
    command: ["KEYS", "a?"],
    answers: { result: ["ab"] },
  },
  {
    given: [
      ["SET", "a", "1"],
      ["SADD", "b", "1"],
    ],
    command: ["SCAN", 0, "MATCH", "*", "TYPE", "set", "COUNT", 100],
    answers: { result: ["0", ["b"]] },
  },
  { command: ["SCAN", "x"], answers: { error: "ERR invalid cursor" } },
  { command: ["SCAN", 0, "COUNT", 0], answers: { error: "ERR syntax error" } },
  { given: [["SET", "a", "1"]], command: ["FLUSHALL"], answers: { result: "OK" } },
  {
    command: ["EVAL", "return 1", 0],
    answers: { error: "ERR EVAL is refused: the local server runs no scripts" },
  },
  { command: ["LPUSH", "l", "1"], answers: { error: "ERR Command is not available: 'LPUSH'" } },
];

const rawCases: readonly KvCase[] = rawRows.map(({ given = [], command, answers }) => ({
  name: [...given, command].map((words) => words.join(" ")).join("; "),
  async run(kv, expect) {
    for (const words of given) {
      await kv.fetch("/", { method: "POST", body: JSON.stringify(words) });
    }
    const response = await kv.fetch("/", { method: "POST", body: JSON.stringify(command) });
    expect(await response.json()).toEqual(answers);
    expect(response.status).toBe(Object.hasOwn(Object(answers), "error") ? 400 : 200);
  },
}));

const clientCases: readonly KvCase[] = [
  {
    name: "MGET keeps the places of keys that are missing",
    async run(kv, expect) {
      const redis = kv.client();
      await redis.mset({ a: "1x", c: { shard: 3 } });
      expect(await redis.mget("a", "b", "c")).toEqual(["1x", null, { shard: 3 }]);
    },
  },
  {
    name: "a key is gone after its expiry",
    async run(kv, expect) {
      const redis = kv.client();
      await redis.set("k", "v", { px: 40 });
      expect(await redis.pttl("k")).toBeGreaterThan(0);
      await expect.poll(() => redis.get("k"), { timeout: 5000, interval: 10 }).toBeNull();
      expect(await redis.ttl("k")).toBe(-2);
    },
  },
  {
    name: "values with NUL, control characters, emoji and what looks like base64 come back byte for byte",
    async run(kv, expect) {
      const redis = kv.client({ isDeserializing: false });
      const values = [
        "\0\u0001\u007f\u0080ÿ",
        "😀 zażółć 漢",
        "T0s=",
        "OK",
        "",
        '{"a":1}',
        "\r\n+OK\r\n$-1\r\n",
      ];
      for (const [index, value] of values.entries()) await redis.set(`k${index}`, value);
      expect(await redis.mget(values.map((_, index) => `k${index}`))).toEqual(values);
      await redis.hset("h", { field: "\0😀" });
      expect(await redis.hget("h", "field")).toBe("\0😀");
    },
  },
  {
    name: "bytes that are not UTF-8 survive the path form and base64",
    async run(kv, expect) {
      await kv.fetch("/set/k/%FF%FE%00", { method: "POST" });
      const headers = { "upstash-encoding": "base64" };
      const response = await kv.fetch("/get/k", { headers });
      expect(await response.json()).toEqual({
        result: Buffer.from([0xff, 0xfe, 0]).toString("base64"),
      });
    },
  },
  {
    name: "three gets in one tick are one request",
    async run(kv, expect) {
      const redis = kv.client();
      await redis.mset({ a: "x", b: "y" });
      const spy = vi.spyOn(globalThis, "fetch");
      try {
        const answers = await Promise.all([redis.get("a"), redis.get("none"), redis.get("b")]);
        expect(answers).toEqual(["x", null, "y"]);
        expect(spy.mock.calls.map(([url]) => url)).toEqual([`${kv.server.url}/pipeline`]);
      } finally {
        spy.mockRestore();
      }
    },
  },
  {
    name: "in a pipeline a command that fails fails alone",
    async run(kv, expect) {
      const redis = kv.client();
      await redis.sadd("s", "m");
      const results = await Promise.allSettled([redis.get("s"), redis.get("none")]);
      expect(results[0]).toMatchObject({
        status: "rejected",
        reason: { message: expect.stringMatching(wrongType) },
      });
      expect(results[1]).toEqual({ status: "fulfilled", value: null });
    },
  },
  {
    name: "in a pipeline a command that is not served keeps its place among the others",
    async run(kv, expect) {
      const body = JSON.stringify([
        ["SET", "k", "v"],
        ["LPUSH", "l", "1"],
        ["GET", "k"],
      ]);
      const response = await kv.fetch("/pipeline", { method: "POST", body });
      expect(response.status).toBe(200);
      expect(await response.json()).toEqual([
        { result: "OK" },
        { error: "ERR Command is not available: 'LPUSH'" },
        { result: "v" },
      ]);
    },
  },
  {
    name: "a transaction answers each command in order",
    async run(kv, expect) {
      const multi = kv.client().multi().set("k", 1).incr("k").get("k").sadd("s", "m");
      expect(await multi.exec()).toEqual(["OK", 2, 2, 1]);
    },
  },
  {
    name: "a transaction with a command that is not served runs nothing",
    async run(kv, expect) {
      const body = JSON.stringify([
        ["SET", "k", "1"],
        ["LPUSH", "l", "1"],
      ]);
      const response = await kv.fetch("/multi-exec", { method: "POST", body });
      expect(response.status).toBe(400);
      expect(await response.json()).toEqual({ error: expect.stringContaining("EXECABORT") });
      expect(await kv.client().get("k")).toBeNull();
    },
  },
  {
    name: "HGETALL, SMEMBERS, KEYS and SCAN give what was stored",
    async run(kv, expect) {
      const redis = kv.client();
      await redis.hset("h", { a: "x", b: 2 });
      await redis.sadd("s", "m", "n");
      expect(await redis.hgetall("h")).toEqual({ a: "x", b: 2 });
      expect((await redis.smembers("s")).toSorted()).toEqual(["m", "n"]);
      expect((await redis.keys("*")).toSorted()).toEqual(["h", "s"]);
      const [cursor, keys] = await redis.scan(0, { match: "h*", count: 1000 });
      expect([cursor, keys]).toEqual(["0", ["h"]]);
      expect(await redis.ping()).toBe("PONG");
      expect((await redis.time())[0]).toBeGreaterThan(1_700_000_000);
    },
  },
  {
    name: "a script is refused with a reason",
    async run(kv, expect) {
      await expect(kv.client().eval("return 1", [], [])).rejects.toThrow(/runs no scripts/);
    },
  },
];

/** What each command does. */
export const commandCases: readonly KvCase[] = [...rawCases, ...clientCases];
