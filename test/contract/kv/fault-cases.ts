import type { KvCase } from "./command-cases.ts";

const eu = "eu-west-1";
const us = "us-east-1";

/** What tokens, replication and faults do to the real client. */
export const faultCases: readonly KvCase[] = [
  {
    name: "a replica shows a write after the lag, the primary at once",
    async run(kv, expect) {
      await kv.client().set("k", "new");
      expect(await kv.client().get("k")).toBe("new");
      const reader = kv.client({ region: eu });
      expect(await reader.get("k")).toBeNull();
      kv.advance(1000);
      expect(await reader.get("k")).toBe("new");
    },
  },
  {
    name: "a client that writes through its region reads its own write before the lag has passed",
    async run(kv, expect) {
      const writer = kv.client({ region: eu });
      await writer.set("k", "mine");
      expect(await writer.get("k")).toBe("mine");
      expect(await kv.client({ region: eu }).get("k")).toBeNull();
    },
  },
  {
    name: "a frozen replica stays as it was while the others follow, and catches up afterwards",
    async run(kv, expect) {
      await kv.client().set("k", 1);
      kv.advance(1000);
      await kv.fault({ kind: "freeze", region: eu });
      const [inEu, inUs] = [kv.client({ region: eu }), kv.client({ region: us })];
      expect(await inEu.get("k")).toBe(1);
      await kv.client().set("k", 2);
      kv.advance(600_000);
      expect(await inEu.get("k")).toBe(1);
      expect(await inUs.get("k")).toBe(2);
      await kv.clearFaults();
      expect(await inEu.get("k")).toBe(2);
    },
  },
  {
    name: "a lag fault delays one region only",
    async run(kv, expect) {
      await kv.fault({ kind: "lag", lagMs: 60_000, region: eu });
      await kv.client().set("k", 1);
      kv.advance(59_000);
      expect(await kv.client({ region: eu }).get("k")).toBeNull();
      expect(await kv.client({ region: us }).get("k")).toBe(1);
      kv.advance(1000);
      expect(await kv.client({ region: eu }).get("k")).toBe(1);
    },
  },
  {
    name: "deletes, flushes and expiries reach the replicas",
    async run(kv, expect) {
      const [redis, reader] = [kv.client(), kv.client({ region: eu })];
      await redis.mset({ a: 1, b: 2 });
      await redis.set("short", 3, { ex: 10 });
      await redis.hset("h", { f: 1 });
      await redis.sadd("s", "m");
      kv.advance(1000);
      expect(await reader.mget("a", "b", "short")).toEqual([1, 2, 3]);
      expect(await reader.hgetall("h")).toEqual({ f: 1 });
      expect(await reader.smembers("s")).toEqual(["m"]);
      await redis.del("a");
      kv.advance(10_000);
      expect(await reader.mget("a", "b", "short")).toEqual([null, 2, null]);
      await redis.flushall();
      kv.advance(1000);
      expect(await reader.dbsize()).toBe(0);
    },
  },
  {
    name: "a lost write is acknowledged and nowhere",
    async run(kv, expect) {
      const redis = kv.client();
      await redis.set("k", "before");
      await kv.fault({ kind: "lose-writes", probability: 1 });
      expect(await redis.set("k", "after")).toBe("OK");
      expect(await redis.incr("n")).toBe(1);
      expect(await redis.del("k")).toBe(1);
      await kv.clearFaults();
      kv.advance(1000);
      expect(await redis.mget("k", "n")).toEqual(["before", null]);
      expect(await kv.client({ region: eu }).get("k")).toBe("before");
    },
  },
  {
    name: "after a lost write a key has its old expiry",
    async run(kv, expect) {
      const redis = kv.client();
      await redis.set("k", 1, { ex: 1000 });
      await kv.fault({ kind: "lose-writes", probability: 1 });
      await redis.set("k", 2);
      await kv.clearFaults();
      expect(await redis.get("k")).toBe(1);
      expect(await redis.ttl("k")).toBeGreaterThan(0);
    },
  },
  {
    name: "a write lost on the way to one region is in all others",
    async run(kv, expect) {
      await kv.fault({ kind: "lose-writes", probability: 1, region: eu });
      await kv.client().set("k", 1);
      await kv.clearFaults();
      kv.advance(1000);
      expect(await kv.client({ region: eu }).get("k")).toBeNull();
      expect(await kv.client({ region: us }).get("k")).toBe(1);
    },
  },
  {
    name: "the read-only token reads, and every write of it is refused and not done",
    async run(kv, expect) {
      await kv.client().set("k", 1);
      const reader = kv.client({ isReadOnly: true });
      expect(await reader.get("k")).toBe(1);
      await expect(reader.set("k", 2)).rejects.toThrow(/NOPERM .*'set'/);
      await expect(reader.multi().get("k").del("k").exec()).rejects.toThrow(/NOPERM .*'del'/);
      await expect(reader.keys("*")).rejects.toThrow(/NOPERM .*'keys'/);
      await expect(reader.flushall()).rejects.toThrow(/NOPERM .*'flushall'/);
      expect(await kv.client().get("k")).toBe(1);
    },
  },
  {
    name: "a delay beyond the client's timeout rejects with the timeout, not with a value",
    async run(kv, expect) {
      await kv.client().set("k", 1);
      await kv.fault({ kind: "delay", delayMs: 30_000 });
      const hasty = kv.client({ timeoutMs: 50 });
      await expect(hasty.get("k")).rejects.toMatchObject({ name: "TimeoutError" });
      // The write took place although its owner saw it fail.
      await expect(hasty.set("k", 2)).rejects.toMatchObject({ name: "TimeoutError" });
      await kv.clearFaults();
      expect(await kv.client().get("k")).toBe(2);
    },
  },
  {
    name: "a dead server rejects",
    async run(kv, expect) {
      await kv.fault({ kind: "dead" });
      await expect(kv.client().get("k")).rejects.toThrow(/fetch failed/);
    },
  },
  {
    name: "a status rejects with the server's reason",
    async run(kv, expect) {
      await kv.fault({ kind: "status", status: 429 });
      await expect(kv.client().get("k")).rejects.toThrow(/status 429/);
      expect((await kv.fetch("/get/k")).status).toBe(429);
    },
  },
  {
    name: "garbage and HTML with status 200 reject",
    async run(kv, expect) {
      await kv.fault({ kind: "html" });
      await expect(kv.client().get("k")).rejects.toMatchObject({ name: "UpstashJSONParseError" });
      await kv.clearFaults();
      await kv.fault({ kind: "garbage" });
      await expect(kv.client().get("k")).rejects.toMatchObject({ name: "UpstashJSONParseError" });
    },
  },
  {
    name: "a fault of one region leaves the others and the primary alone",
    async run(kv, expect) {
      await kv.client().set("k", 1);
      kv.advance(1000);
      await kv.fault({ kind: "dead", region: eu });
      await expect(kv.client({ region: eu }).get("k")).rejects.toThrow(/fetch failed/);
      expect(await kv.client({ region: us }).get("k")).toBe(1);
      expect(await kv.client().get("k")).toBe(1);
    },
  },
  {
    name: "under the empty fault every read finds nothing and the data stays",
    async run(kv, expect) {
      const redis = kv.client();
      await redis.mset({ a: 1, b: 2 });
      await redis.hset("h", { f: 1 });
      await kv.fault({ kind: "empty" });
      expect(await redis.mget("a", "b")).toEqual([null, null]);
      expect(await redis.hgetall("h")).toBeNull();
      expect(await redis.keys("*")).toEqual([]);
      await kv.clearFaults();
      expect(await redis.get("a")).toBe(1);
    },
  },
  {
    name: "a lie is what reads give for the keys that match, in each command's form",
    async run(kv, expect) {
      const redis = kv.client();
      await redis.mset({ "shard:1": "well", other: "true" });
      await redis.hset("cell:1", { weight: 1 });
      await kv.fault({ kind: "lie", key: "shard:*", value: "dead" });
      await kv.fault({ kind: "lie", key: "cell:*", value: { weight: "0" } });
      expect(await redis.mget("shard:1", "shard:none", "other")).toEqual(["dead", "dead", true]);
      expect(await redis.hgetall("cell:1")).toEqual({ weight: 0 });
      await kv.fault({ kind: "lie", key: "shard:*", value: null });
      expect(await redis.get("shard:1")).toBeNull();
      await kv.clearFaults();
      expect(await redis.get("shard:1")).toBe("well");
      expect(await redis.hget("cell:1", "weight")).toBe(1);
    },
  },
];
