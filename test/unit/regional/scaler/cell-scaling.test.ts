import { describe, expect, it } from "vitest";
import { createCellScaling } from "#regional/scaler/cell-scaling.ts";
import type { CellId } from "#shared/residency/brands.ts";
import { startSpeed } from "#shared/routing/speed-profiles.ts";
import { createMetricsRegistry } from "#shared/telemetry/metrics.ts";
import { HandClock } from "#test/support/hand-clock.ts";
import { MemoryScalingStore } from "#test/support/memory-scaling-store.ts";
import { aFile, topologyOf } from "#test/support/topology-builders.ts";

const modal = {
  kind: "modal",
  url: "https://llama.eu.modal.example.com/v1",
  routingRegion: "eu-west",
  key: "env:MODAL_KEY",
  secret: "env:MODAL_SECRET",
};

/** A cell whose only shard is Modal's, with a pool of at least two containers. */
function aCell(scaling: unknown) {
  const file = aFile();
  const shards = file["shards"] as Record<string, Record<string, unknown>>;
  shards["eu-west-1a/llama-0"] = { ...shards["eu-west-1a/llama-0"], backend: modal };
  const topology = topologyOf(scaling === null ? file : { ...file, scaling });
  const cell = topology.cells.get("eu-west-1a" as CellId);
  if (cell === undefined) throw new Error("no cell");
  const clock = new HandClock();
  const metrics = createMetricsRegistry();
  const lines: unknown[] = [];
  const preloads: unknown[] = [];
  const store = new MemoryScalingStore(() => clock.nowMs());
  const cellScaling = createCellScaling({
    config: {
      cell,
      topology,
      shards: (topology.jurisdictions.get(cell.jurisdiction)?.shards ?? [])
        .filter((shard) => shard.cell === cell.id)
        .map((description) => ({ description })),
    },
    platforms: { of: () => null, close: () => {} },
    book: { statuses: () => [], speedOf: () => startSpeed(undefined, 1) },
    startsMsOf: (shard) => (shard === "eu-west-1a/llama-0" ? [4_000, 9_000] : []),
    queues: () => [],
    store,
    preload: (model, count, untilMs) => void preloads.push({ model, count, untilMs }),
    clock,
    monotonicMs: () => clock.nowMs(),
    boot: "b",
    metrics,
    log: (_level, event, fields = {}) => void lines.push({ event, ...fields }),
  });
  return { cellScaling, clock, lines, metrics, preloads, store };
}

const pool = {
  model: "sim/llama",
  shards: ["eu-west-1a/llama-0"],
  replicasMin: 2,
  replicasMax: 6,
};

/** Lets calls of the store in memory end. */
async function settled(): Promise<void> {
  for (let turn = 0; turn < 50; turn += 1) await Promise.resolve();
}

describe("the scaler of a cell, wired", () => {
  it("leads, plans, keeps the plan and writes the call that Modal needs", async () => {
    const { cellScaling, clock, lines, metrics, store } = aCell({
      "eu-west-1": { mode: "act", pools: { llama: pool } },
    });
    const stop = cellScaling.start();
    clock.move(5_000);
    await settled();
    const rendered = metrics.render();
    await stop();
    expect(lines).toStrictEqual([
      { event: "scaler_leads", count: 1 },
      {
        event: "scaler_plan",
        model: "sim/llama",
        reason: "atMinimum",
        replicas: 2,
        wanted: 0,
        plan: "0 to 2: the minimum; work 0.00 protected + 0.00, waiting 0.00 s, firm 2; llama 0 to 2",
      },
      { event: "scaler_order", pool: "llama", replicas: 2, reason: "planOnly" },
      {
        event: "scaler_command",
        pool: "llama",
        replicas: 2,
        plan: "modal.Server.from_name(APP, NAME).update_autoscaler(min_containers=2, max_containers=6, buffer_containers=0)",
      },
    ]);
    expect(await store.plans()).toMatchObject([{ model: "sim/llama", token: 1 }]);
    // What its shards took to start is told to the region, and counts beside the declared 260 s.
    expect(JSON.stringify(await store.demand())).toContain("[4000,9000]");
    expect(rendered).toMatch(/meridian_scaler_start_seconds\{pool="llama"\} 99\.\d/);
    expect(metrics.render()).toContain(
      'meridian_scaler_orders_total{pool="llama",result="planOnly"} 1',
    );
    // The lease was given up: the next cell need not wait.
    expect(await store.acquire("next", 1_000)).toStrictEqual({ token: 2 });
  });

  it("has its own shards of the region's plan warmed, whichever cell leads, while the plan is fresh", async () => {
    const { cellScaling, clock, preloads, store } = aCell({
      "eu-west-1": { mode: "act", pools: { llama: pool } },
    });
    await store.acquire("another cell", 1_000_000);
    const plan = JSON.stringify({ v: 1, pools: [{ pool: "llama", replicas: 2 }] });
    await store.keepPlan({ model: "sim/llama", token: 1, plan, state: "{}" });
    const stop = cellScaling.start();
    clock.move(5_000);
    await settled();
    expect(preloads).toStrictEqual([{ model: "sim/llama", count: 1, untilMs: 21_000 }]);
    // The leader has not written for minutes.
    clock.move(160_000);
    await settled();
    const seen = preloads.length;
    clock.move(5_000);
    await stop();
    expect(preloads).toHaveLength(seen);
  });

  it("warms nothing for a plan that is only written", async () => {
    const { cellScaling, clock, preloads, store } = aCell({
      "eu-west-1": { mode: "plan-only", pools: { llama: pool } },
    });
    const stop = cellScaling.start();
    clock.move(5_000);
    await stop();
    expect(await store.plans()).toHaveLength(1);
    expect(preloads).toStrictEqual([]);
  });

  it("does nothing in a region without scaling, but counts what it is offered", async () => {
    const { cellScaling, clock, lines, store } = aCell(null);
    const stop = cellScaling.start();
    clock.move(60_000);
    await stop();
    expect(lines).toStrictEqual([]);
    expect(await store.demand()).toStrictEqual([]);
    expect(cellScaling.meter.reports()).toHaveLength(1);
  });
});
