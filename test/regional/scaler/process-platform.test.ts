import { describe, expect, it, onTestFinished } from "vitest";
import { serveShardControl } from "#dev/supervisor/shard-control.ts";
import { createProcessPlatform } from "#regional/backends/platforms/process-platform.ts";
import type { ShardId } from "#shared/residency/brands.ts";
import { aPool } from "#test/sim/scaler/region.ts";

const ids = ["c/llama-0", "c/llama-1", "c/llama-2"] as ShardId[];
const pool = aPool({ platform: "process", shards: ids, replicasMax: 3 });

/** The platform in front of the supervisor's real endpoint. */
async function aPlatform(up: readonly string[] = ids, fields: { token?: string } = {}) {
  const running = new Set(up);
  const busy = new Set<string>();
  const drained = new Set<string>();
  const control = await serveShardControl({
    running: () => [...running],
    regionOf: () => "eu-west-1",
    set: async (shard, isRunning) => {
      if (isRunning) running.add(shard);
      else running.delete(shard);
      return true;
    },
  });
  onTestFinished(() => control.close());
  const platform = createProcessPlatform({
    url: control.url,
    token: fields.token ?? control.token,
    leaving: {
      leave: (shard) => void drained.add(shard),
      isEmpty: (shard) => !busy.has(shard),
      comeBack: (shard) => void drained.delete(shard),
    },
  });
  const { signal } = new AbortController();
  return {
    running,
    busy,
    drained,
    control,
    observe: (ready: readonly string[] = ids) => platform.observe(pool, new Set(ready), signal),
    apply: (replicas: number, token = 1) => platform.apply(pool, replicas, token, signal),
  };
}

describe("engines that the supervisor starts and ends for a scaler", () => {
  it("are counted as they run, and ready as the cells see them", async () => {
    const { observe } = await aPlatform(["c/llama-0", "c/llama-1"]);
    expect(await observe(["c/llama-0", "c/llama-2"])).toStrictEqual({ desired: 2, ready: 1 });
  });

  it("are drained first, and end when nothing runs on them any more", async () => {
    const { apply, busy, drained, observe, running } = await aPlatform();
    busy.add("c/llama-2");
    expect(await apply(2)).toBe("applied");
    expect(await observe()).toStrictEqual({ desired: 2, ready: 2 });
    expect([...drained]).toStrictEqual(["c/llama-2"]);
    expect(running.size).toBe(3);
    busy.clear();
    await observe();
    expect([...running]).toStrictEqual(["c/llama-0", "c/llama-1"]);
  });

  it("are kept when they are wanted again before they have ended", async () => {
    const { apply, busy, drained, observe, running } = await aPlatform();
    busy.add("c/llama-2");
    await apply(2);
    await apply(3);
    busy.clear();
    await observe();
    expect(running.size).toBe(3);
    expect(drained.size).toBe(0);
  });

  it("start again and take prompts again", async () => {
    const { apply, drained, observe, running } = await aPlatform();
    await apply(1);
    await observe();
    expect([...running]).toStrictEqual(["c/llama-0"]);
    expect(await apply(3)).toBe("applied");
    expect(running.size).toBe(3);
    expect(drained.size).toBe(0);
  });

  it("stay drained where an operator drained them", async () => {
    const { apply, drained } = await aPlatform();
    drained.add("c/llama-0");
    await apply(2);
    await apply(3);
    expect([...drained]).toStrictEqual(["c/llama-0"]);
  });

  it("obey an order that comes twice once", async () => {
    const { apply, observe, running } = await aPlatform();
    await apply(2);
    await apply(2);
    await observe();
    await apply(2);
    expect(running.size).toBe(2);
  });

  it("do not obey a leader that was replaced", async () => {
    const { apply, observe, running } = await aPlatform(["c/llama-0"]);
    expect(await apply(2, 5)).toBe("applied");
    expect(await apply(3, 4)).toBe("fenced");
    await observe();
    expect([...running]).toStrictEqual(["c/llama-0", "c/llama-1"]);
  });

  it("are unseen, and stay as they are, for whoever has no right to ask", async () => {
    const { apply, observe, running } = await aPlatform(ids, {
      token: "of-somebody-else-altogether",
    });
    expect(await observe()).toBeNull();
    expect(await apply(1)).toBe("failed");
    expect(running.size).toBe(3);
  });

  it("are unseen, and stay as they are, while the supervisor is away", async () => {
    const { apply, control, observe } = await aPlatform();
    control.close();
    expect(await observe()).toBeNull();
    expect(await apply(1)).toBe("failed");
  });
});

describe("the supervisor's endpoint", () => {
  it.each([
    ["GET", "/other", undefined, 404],
    ["POST", "/shards", "{}", 405],
    ["PUT", "/shards", "no JSON", 400],
    ["PUT", "/shards", '{"shard":"c/llama-0","running":false}', 400],
    ["PUT", "/shards", `{"shard":"${"x".repeat(5_000)}"}`, 400],
  ])("answers %s %s (%s): %i", async (method, path, body, status) => {
    const { control, running } = await aPlatform();
    const headers = { authorization: `Bearer ${control.token}` };
    const init = body === undefined ? { method, headers } : { method, headers, body };
    const response = await fetch(`${control.url}${path}`, init);
    expect(response.status).toBe(status);
    expect(running.size).toBe(3);
  });
});
