import { afterEach, beforeEach, describe, expect, test } from "vitest";

import { startKvHarness } from "./harness.ts";
import type { KvHarness } from "./harness.ts";

let kv: KvHarness;
beforeEach(async () => {
  kv = await startKvHarness();
});
afterEach(() => kv.close());

const setBody = JSON.stringify(["SET", "k", "v"]);

describe("the REST protocol over HTTP", () => {
  test("the token may be a query parameter", async () => {
    const response = await fetch(`${kv.server.url}/set/k/v?_token=writing-token`);
    expect([response.status, await response.json()]).toEqual([200, { result: "OK" }]);
  });

  test.for(["", "Bearer wrong", "Basic writing-token", "writing-token"])(
    "authorization %j is refused with 401 and does nothing",
    async (authorization) => {
      const init = { method: "POST", headers: { authorization }, body: setBody };
      const response = await fetch(kv.server.url, init);
      expect([response.status, await response.json()]).toEqual([401, { error: "Unauthorized" }]);
      expect(await kv.client().get("k")).toBeNull();
    },
  );

  test("a method of another kind is refused with 405", async () => {
    expect((await kv.fetch("/get/k", { method: "DELETE" })).status).toBe(405);
    expect((await kv.fetch("/get/k", { method: "PUT" })).status).toBe(200);
  });

  test("a body at the limit is taken, one byte more is refused with 400", async () => {
    const bytesMax = 10 * 1024 * 1024;
    const atLimit = await kv.fetch("/set/k", { method: "POST", body: "x".repeat(bytesMax) });
    expect(atLimit.status).toBe(200);
    const beyond = await kv.fetch("/set/k", { method: "POST", body: "x".repeat(bytesMax + 1) });
    expect(beyond.status).toBe(400);
    expect(await (await kv.fetch("/strlen/k")).json()).toEqual({ result: bytesMax });
  });

  test("a region that does not exist is 404, and its base URL is not given out", async () => {
    expect((await kv.fetch("/regions/mars/get/k")).status).toBe(404);
    expect(() => kv.server.regionUrl("mars")).toThrow(/eu-west-1/);
  });

  test("control answers while the database is dead", async () => {
    await kv.fault({ kind: "dead" });
    await kv.clearFaults();
    expect((await kv.fetch("/ping")).status).toBe(200);
  });

  test("closing ends an answer that is being delayed", async () => {
    await kv.fault({ kind: "delay", delayMs: 600_000, region: "eu-west-1" });
    const writer = kv.client({ region: "eu-west-1" });
    const closeWhenWritten = async (): Promise<void> => {
      await expect.poll(() => kv.client().get("k")).toBe("v");
      await kv.close();
    };
    const [answer] = await Promise.allSettled([writer.set("k", "v"), closeWhenWritten()]);
    expect(answer).toMatchObject({ status: "rejected", reason: { message: "fetch failed" } });
  });

  test("a redis-server that is not there is a failure at start", async () => {
    await expect(startKvHarness("redis://127.0.0.1:1")).rejects.toThrow(/ECONNREFUSED/);
  });
});
