import { mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import * as z from "zod";
import { killAll, startDev, until } from "./dev-process.ts";
import type { DevProcess } from "./dev-process.ts";
import { eventsOf } from "./sse-client.ts";

/**
 * A scaler that acts on the engines of `npm run dev`: two cells of one region, each with a shard of a pool, and a shard that no pool
 * has. Clients ask all the time; whatever the plan does, each of their answers is whole.
 */
const model = "sim/llama-3.1-8b-instruct";
const pooled = ["eu-west-1a/llama-0", "eu-west-1b/llama-1"] as const;
const fixed = "eu-west-1b/llama-fixed";
/** The lease, the first reports, a plan, an order and its end: 5 s each at most, and a machine with other work. */
const changeMsMax = 90_000;
const clients = 3;

const shard = {
  model,
  backend: { kind: "simulated", profile: "cpu-test" },
  capacity: { concurrentRequestsMax: 8, kvTokensMax: 400_000 },
  purchase: "on-demand",
  pricePerHourMicroUsd: 1_200_000,
};
const scaling = (replicasMin: number) => ({
  "eu-west-1": {
    mode: "act",
    shrinkAfterSeconds: 60,
    pools: {
      llama: {
        model,
        shards: pooled,
        replicasMin,
        replicasMax: pooled.length,
        coldStartSeconds: 1,
      },
    },
  },
});
const topology = {
  jurisdictions: { eu: { hostnames: ["eu.localhost"], objects: "eu", regions: ["eu-west-1"] } },
  regions: { "eu-west-1": { latitude: 53.35, longitude: -6.26, database: "embedded" } },
  cells: {
    "eu-west-1a": { region: "eu-west-1", zone: "a", url: "http://127.0.0.1:0" },
    // In the same zone: nothing is kept for the loss of one, whichever cell the first plan has not heard of yet.
    "eu-west-1b": { region: "eu-west-1", zone: "a", url: "http://127.0.0.1:0" },
  },
  models: { [model]: { revision: "r1", contextTokensMax: 8_192, capabilities: ["chat"] } },
  shards: Object.fromEntries(
    [...pooled, fixed].map((id) => [id, { cell: id.slice(0, id.indexOf("/")), ...shard }]),
  ),
  // All engines run at first, which is one too many for three clients.
  scaling: scaling(1),
  tenants: {
    acme: { jurisdiction: "eu", priority: "interactive", keys: ["env:ACME_KEY_SHA256"] },
  },
  admin: { keys: ["env:ADMIN_KEY_SHA256"] },
};

const shardsSchema = z.object({
  data: z.array(
    z.object({
      id: z.string(),
      state: z.string(),
      lifecycle: z.string().nullable(),
      lifecycle_reason: z.string().nullable(),
    }),
  ),
});
const cellsSchema = z.object({
  data: z.array(
    z.object({
      id: z.string(),
      state: z.string(),
      scaling_plans: z.array(
        z.object({
          model: z.string(),
          replicas: z.number(),
        }),
      ),
    }),
  ),
});

let system: DevProcess;
let isOver = false;
const failures: string[] = [];
let answers = 0;
let asking: Promise<unknown> = Promise.resolve();

async function admin(path: string): Promise<unknown> {
  const { edge, keys } = system.file();
  const response = await fetch(`${edge.url}/admin/v1/${path}`, {
    headers: { authorization: `Bearer ${keys["admin"] ?? ""}` },
    signal: AbortSignal.timeout(5_000),
  });
  return response.json();
}

/** State, life and its reason of each shard, by id. */
async function lives(): Promise<ReadonlyMap<string, string>> {
  const { data } = shardsSchema.parse(await admin("shards"));
  return new Map(
    data.map(({ id, lifecycle, lifecycle_reason: reason, state }) => [
      id,
      `${state} ${lifecycle ?? "-"} ${reason ?? "-"}`,
    ]),
  );
}

async function plans() {
  const { data } = cellsSchema.parse(await admin("cells"));
  return data.flatMap(({ scaling_plans: own }) => own);
}

function pidOf(id: string): number | undefined {
  const { cells, shards } = system.file();
  return [...cells, ...shards].find((part) => part.id === id)?.pid;
}

/** One client: asks, reads its answer to the end, asks again. */
async function askAlways(client: number): Promise<void> {
  const { edge, keys } = system.file();
  for (let turn = 0; !isOver; turn += 1) {
    const content = `Client ${client}, prompt ${turn} [[tokens:60]]`;
    const body = { model, stream: true, messages: [{ role: "user", content }] };
    const headers = {
      authorization: `Bearer ${keys["eu"] ?? ""}`,
      "content-type": "application/json",
    };
    try {
      const response = await fetch(`${edge.url}/v1/chat/completions`, {
        method: "POST",
        headers,
        body: JSON.stringify(body),
      });
      const text = await response.text();
      const isWhole = response.ok && eventsOf(text).at(-1)?.data === "[DONE]";
      if (isWhole) answers += 1;
      else failures.push(`${response.status} ${text.slice(-300)}`);
    } catch (error) {
      failures.push(String(error));
    }
  }
}

/** Ends a cell as an operator does, and waits until it serves again. */
async function restartCell(id: string): Promise<void> {
  const before = pidOf(id);
  if (before === undefined) throw new Error(`${id} does not run`);
  process.kill(before, "SIGTERM");
  const isBack = await until(async () => {
    const now = pidOf(id);
    const url = system.file().cells.find((cell) => cell.id === id)?.url ?? "";
    if (now === undefined || now === before) return false;
    return fetch(`${url}/readyz`).then(
      ({ ok }) => ok,
      () => false,
    );
  }, changeMsMax);
  if (!isBack) throw new Error(`${id} did not come back:\n${system.output()}`);
}

beforeAll(async () => {
  const folder = mkdtempSync(join(tmpdir(), "meridian-scaling-"));
  const path = join(folder, "topology.jsonc");
  writeFileSync(path, JSON.stringify(topology));
  system = await startDev(join(folder, "state"), "--topology", path);
  asking = Promise.all(Array.from({ length: clients }, (_, client) => askAlways(client)));
});

afterAll(async () => {
  isOver = true;
  await asking;
  system.signal("SIGINT");
  await system.ended;
  killAll([system]);
});

describe("a scaler that acts on the engines of npm run dev", () => {
  it("ends the engine that is one too many, and shows its shard as cold", async () => {
    expect(pidOf(pooled[1])).toBeDefined();
    const isEnded = await until(async () => {
      const life = await lives();
      return life.get(pooled[1]) === "active cold scaledDown" && pidOf(pooled[1]) === undefined;
    }, changeMsMax);
    expect(isEnded).toBe(true);
    const life = await lives();
    expect(life.get(pooled[0])).toMatch(/^active ready /);
    expect(life.get(fixed)).toMatch(/^active ready /);
    const [plan, ...others] = await plans();
    expect(others).toEqual([]);
    expect(plan).toStrictEqual({ model, replicas: 2 });
    expect(failures).toEqual([]);
  });

  it("is remembered by no cell: one that starts again has the shard cold, not drained", async () => {
    const before = answers;
    await restartCell("eu-west-1b");
    expect((await lives()).get(pooled[1])).toBe("active cold scaledDown");
    // The other cell answered meanwhile, and this one does again.
    expect(await until(() => answers >= before + 20, changeMsMax)).toBe(true);
    expect(failures).toEqual([]);
  });

  it("starts the engine again when the plan wants it", async () => {
    const path = join(system.statePath, "topology.json");
    const written = JSON.parse(readFileSync(path, "utf8")) as object;
    writeFileSync(path, JSON.stringify({ ...written, scaling: scaling(2) }));
    for (const cell of ["eu-west-1b", "eu-west-1a"]) await restartCell(cell);
    const isBack = await until(async () => {
      const life = await lives();
      return (
        (life.get(pooled[1])?.startsWith("active ready ") ?? false) &&
        pidOf(pooled[1]) !== undefined
      );
    }, changeMsMax);
    expect(isBack).toBe(true);
    const isPlanned = await until(
      async () => (await plans()).some(({ replicas }) => replicas === 3),
      changeMsMax,
    );
    expect(isPlanned).toBe(true);
    const before = answers;
    expect(await until(() => answers >= before + 20, changeMsMax)).toBe(true);
    expect(failures).toEqual([]);
  });
});
