import { describe, expect, it, onTestFinished } from "vitest";
import { createScaledEngines } from "#dev/supervisor/scaled-engines.ts";
import { serveShardControl } from "#dev/supervisor/shard-control.ts";
import { createHttpSupervisor } from "#regional/adapters/http-supervisor.ts";
import { createProcessPlatform } from "#regional/backends/platforms/process-platform.ts";
import { createScaledShards } from "#regional/warming/scaled-shards.ts";
import type { ShardId } from "#shared/residency/brands.ts";
import type { LifecycleEvent } from "#shared/warming/shard-lifecycle.ts";
import { HandClock } from "#test/support/hand-clock.ts";
import { aPool } from "#test/sim/scaler/region.ts";

const ids = ["c/llama-0", "c/llama-1", "d/llama-2"] as ShardId[];
const pool = aPool({ platform: "process", shards: ids, replicasMax: 3 });

/** The platform of a leader, and two cells with their shards, in front of the supervisor's real endpoint. */
async function aPlatform(up: readonly string[] = ids, fields: { token?: string } = {}) {
  const running = new Set<string>(ids);
  const clock = new HandClock();
  const timers = new HandClock();
  const failures: string[] = [];
  const engines = createScaledEngines({
    shards: () => ids,
    start: async (shard) => {
      if (failures.includes(shard)) throw new Error("no port");
      running.add(shard);
    },
    stop: async (shard) => void running.delete(shard),
    onFailure: () => {},
    after: (delayMs, run) => timers.after(delayMs, run),
  });
  for (const shard of ids) {
    if (up.includes(shard)) continue;
    engines.set(shard, false);
    engines.left(shard);
  }
  const control = await serveShardControl({ engines, regionOf: () => "eu-west-1" });
  onTestFinished(() => control.close());
  const supervisor = createHttpSupervisor({
    url: control.url,
    token: fields.token ?? control.token,
  });
  const platform = createProcessPlatform(supervisor);
  const busy = new Set<string>();
  const gone: string[] = [];
  const { signal } = new AbortController();
  /** A cell that has just started. */
  const aCell = (name: string) => {
    const scaled = new Map<string, string>();
    const shards = createScaledShards({
      shards: ids.filter((id) => id.startsWith(name)),
      supervisor,
      clock,
      note: (shard, event) =>
        void scaled.set(shard, (event as LifecycleEvent & { readonly kind: "scaled" }).to),
      inFlight: (shard) => (busy.has(shard) ? 1 : 0),
      leave: (shard) => void gone.push(shard),
      onChange: () => {},
    });
    return {
      look: () => shards.look(),
      isStopped: (shard: ShardId) => shards.isStopped(shard),
      scaled,
    };
  };
  const cells = [aCell("c/"), aCell("d/")] as const;
  return {
    running,
    engines,
    busy,
    gone,
    cells,
    aCell,
    clock,
    timers,
    failures,
    control,
    look: async () => {
      for (const cell of cells) await cell.look();
    },
    observe: (ready: readonly string[] = ids) => platform.observe(pool, new Set(ready), signal),
    apply: (replicas: number, token = 1) => platform.apply(pool, replicas, token, signal),
  };
}

describe("engines that the supervisor starts and ends for a scaler", () => {
  it("are counted as they run, and ready as the cells see them", async () => {
    const { observe } = await aPlatform(["c/llama-0", "c/llama-1"]);
    expect(await observe(["c/llama-0", "d/llama-2"])).toStrictEqual({ desired: 2, ready: 1 });
  });

  it("take no new prompts first, and end when nothing of their cell runs on them any more", async () => {
    const { apply, busy, cells, look, observe, running } = await aPlatform();
    busy.add("d/llama-2");
    expect(await apply(2)).toBe("applied");
    expect(await observe()).toStrictEqual({ desired: 2, ready: 2 });
    await look();
    expect(cells.map(({ scaled }) => [...scaled])).toStrictEqual([[], [["d/llama-2", "ending"]]]);
    expect(running.size).toBe(3);
    busy.clear();
    await look();
    expect([...running]).toStrictEqual(["c/llama-0", "c/llama-1"]);
    await look();
    expect(cells[1].isStopped("d/llama-2" as ShardId)).toBe(true);
  });

  it("are left by what still runs there after a minute", async () => {
    const { apply, busy, clock, gone, look } = await aPlatform();
    busy.add("d/llama-2");
    await apply(2);
    await look();
    clock.move(59_999);
    await look();
    expect(gone).toStrictEqual([]);
    clock.move(1);
    await look();
    expect(gone).toStrictEqual(["d/llama-2"]);
  });

  it("end also when their cell is gone", async () => {
    const { apply, running, timers } = await aPlatform();
    await apply(2);
    timers.move(89_999);
    expect(running.size).toBe(3);
    timers.move(1);
    await Promise.resolve();
    expect([...running]).toStrictEqual(["c/llama-0", "c/llama-1"]);
  });

  it("are kept when they are wanted again before they have ended", async () => {
    const { apply, busy, cells, look, running, timers } = await aPlatform();
    busy.add("d/llama-2");
    await apply(2);
    await look();
    await apply(3);
    busy.clear();
    await look();
    timers.move(100_000);
    await Promise.resolve();
    expect(running.size).toBe(3);
    expect(cells[1].scaled.get("d/llama-2")).toBe("running");
  });

  it("start again and take prompts again", async () => {
    const { apply, cells, look, observe, running } = await aPlatform();
    await apply(1);
    await look();
    await look();
    expect([...running]).toStrictEqual(["c/llama-0"]);
    expect(await apply(3)).toBe("applied");
    expect(running.size).toBe(3);
    await look();
    expect(cells.flatMap(({ scaled }) => [...scaled.values()])).toStrictEqual([
      "running",
      "running",
    ]);
    expect(await observe()).toStrictEqual({ desired: 3, ready: 3 });
  });

  it("are as the supervisor has them for a cell that was started again", async () => {
    const { aCell, apply, look } = await aPlatform();
    await apply(2);
    await look();
    const again = aCell("d/");
    expect(again.isStopped("d/llama-2" as ShardId)).toBe(false);
    await again.look();
    expect(again.isStopped("d/llama-2" as ShardId)).toBe(true);
  });

  it("do not count when they could not be started, and are started again", async () => {
    const { apply, failures, observe, running } = await aPlatform(["c/llama-0"]);
    failures.push("c/llama-1");
    expect(await apply(2)).toBe("applied");
    expect(await observe()).toStrictEqual({ desired: 1, ready: 1 });
    failures.length = 0;
    await apply(2);
    expect(await observe()).toStrictEqual({ desired: 2, ready: 2 });
    expect([...running]).toStrictEqual(["c/llama-0", "c/llama-1"]);
  });

  it("obey an order that comes twice once", async () => {
    const { apply, look, running } = await aPlatform();
    await apply(2);
    await apply(2);
    await look();
    await apply(2);
    expect(running.size).toBe(2);
  });

  it("do not obey a leader that was replaced", async () => {
    const { apply, running } = await aPlatform(["c/llama-0"]);
    expect(await apply(2, 5)).toBe("applied");
    expect(await apply(3, 4)).toBe("fenced");
    expect([...running]).toStrictEqual(["c/llama-0", "c/llama-1"]);
  });

  it("are unseen, and stay as they are, for whoever has no right to ask", async () => {
    const { apply, cells, look, observe, running } = await aPlatform(ids, {
      token: "of-somebody-else-altogether",
    });
    expect(await observe()).toBeNull();
    expect(await apply(1)).toBe("failed");
    await look();
    expect(cells[0].scaled.size).toBe(0);
    expect(running.size).toBe(3);
  });

  it("are unseen, and stay as they are, while the supervisor is away", async () => {
    const { apply, cells, control, look, observe } = await aPlatform(["c/llama-0", "c/llama-1"]);
    await look();
    control.close();
    expect(await observe()).toBeNull();
    expect(await apply(1)).toBe("failed");
    await look();
    expect(cells[1].isStopped("d/llama-2" as ShardId)).toBe(true);
  });
});

describe("the supervisor's endpoint", () => {
  it.each([
    ["GET", "/other", undefined, 404],
    ["POST", "/shards", "{}", 405],
    ["GET", "/shards/left", undefined, 405],
    ["PUT", "/shards", "no JSON", 400],
    ["PUT", "/shards", '{"shard":"c/llama-0","running":false}', 400],
    ["PUT", "/shards", `{"shard":"${"x".repeat(5_000)}"}`, 400],
    ["PUT", "/shards", '{"shard":"c/nobody","running":false,"token":1}', 404],
    ["PUT", "/shards/left", '{"shard":7}', 400],
    ["PUT", "/shards/left", '{"shard":"c/nobody"}', 404],
    // Nobody asked for its end.
    ["PUT", "/shards/left", '{"shard":"c/llama-0"}', 200],
  ])("answers %s %s (%s): %i", async (method, path, body, status) => {
    const { control, running } = await aPlatform();
    const headers = { authorization: `Bearer ${control.token}` };
    const init = body === undefined ? { method, headers } : { method, headers, body };
    const response = await fetch(`${control.url}${path}`, init);
    expect(response.status).toBe(status);
    expect(running.size).toBe(3);
  });
});
