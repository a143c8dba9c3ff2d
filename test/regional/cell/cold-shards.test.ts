import { describe, it, onTestFinished } from "vitest";
import { startSimulatedEngine } from "#dev/simulated-engine/start.ts";
import type { StartOptions } from "#dev/simulated-engine/start.ts";
import type { TopologyFile } from "#shared/config/topology.ts";
import { outcomeHeader } from "#shared/protocol/internal/stream.ts";
import { parseTurnOutcome } from "#shared/protocol/internal/turn-outcome.ts";
import { refuses, says } from "#test/support/fake-engine.ts";
import { aCell, aTurn, contentOf, model, readStream, until } from "./harness.ts";
import type { CellOptions, TestCell } from "./harness.ts";

interface ColdShard {
  /** Absent: its platform keeps it up. */
  readonly scaleToZeroSeconds?: number;
  readonly coldStartSeconds?: number;
  readonly url?: string;
  readonly purchase?: "spot";
}

/** Shards of the cell in their order, changed. */
function withShards(...changes: readonly ColdShard[]): NonNullable<CellOptions["change"]> {
  return (file) => ({
    ...file,
    shards: Object.fromEntries(
      Object.entries(file.shards).map(([id, shard], index) => {
        const { url, ...more } = changes[index] ?? {};
        const backend = url === undefined ? shard.backend : { kind: "simulated" as const, url };
        return [id, { ...shard, ...more, backend }];
      }),
    ) as TopologyFile["shards"],
  });
}

/** An engine on a platform that takes it down when nobody asks. */
async function aServerlessEngine(options: StartOptions) {
  const engine = await startSimulatedEngine({
    profile: "cpu-test",
    model,
    scaleToZeroMs: 600_000,
    ...options,
  });
  onTestFinished(() => engine.close());
  const control = engine.url.replace(/v1$/u, "control");
  return {
    url: engine.url,
    /** What it was asked, in order: `ping` for warming prompts. */
    async asked(): Promise<readonly string[]> {
      const response = await fetch(`${control}/requests`);
      const { requests } = (await response.json()) as {
        requests: { path: string; body: { messages?: { content: string }[] } | null }[];
      };
      return requests
        .filter(({ path }) => path.startsWith("/v1/chat"))
        .map(({ body }) => body?.messages?.[0]?.content ?? "unread");
    },
    goCold: (coldStartMs: number) =>
      fetch(`${control}/cold`, { method: "POST", body: JSON.stringify({ coldStartMs }) }),
  };
}

async function metric(cell: TestCell, start: string): Promise<number | null> {
  const text = await (await fetch(`${cell.url}/metrics`)).text();
  const line = text.split("\n").find((one) => one.startsWith(start));
  return line === undefined ? null : Number(line.split(" ").at(-1));
}

const cold = refuses(503, "{}", { "retry-after": "60" });

describe("a prompt that meets a cold shard", () => {
  it("goes to the warm one, though its conversation's home is the cold one", async ({ expect }) => {
    const cell = await aCell({
      engines: 2,
      change: withShards({ scaleToZeroSeconds: 600, coldStartSeconds: 60 }),
    });
    const affinity = { homeShard: "eu-west-1a/s-0", key: "k" };
    await until(async () => (await fetch(`${cell.url}/readyz`)).status === 200);
    const answer = await cell.put(aTurn({ affinity }));
    expect(contentOf(await readStream(answer))).toBe("Hello world");
    expect(answer.headers.get("x-meridian-expected-wait-ms")).toBeNull();
    expect(cell.engines.map(({ requests }) => requests.length > 0)).toStrictEqual([false, true]);
  });

  it("waits once for the only one, says for how long, and is answered", async ({ expect }) => {
    const engine = await aServerlessEngine({ coldStartMs: 700 });
    const cell = await aCell({
      engines: 1,
      change: withShards({ scaleToZeroSeconds: 600, coldStartSeconds: 0.6, url: engine.url }),
    });
    const answer = await cell.put(aTurn());
    expect(answer.headers.get("x-meridian-expected-wait-ms")).toBe("600");
    const stream = await readStream(answer);
    expect(stream.text).toContain(": keep-alive");
    expect(contentOf(stream)).toContain("Simulated text:");
    const asked = await engine.asked();
    expect(asked.at(-1)).toBe("hi");
    expect(asked.filter((content) => content === "hi")).toHaveLength(1);
    expect(await metric(cell, "meridian_cold_wait_seconds_count")).toBe(1);
    expect(await metric(cell, "meridian_cold_start_seconds_count")).toBe(1);
    expect(cell.logLines.some((line) => line.includes('"cold_waited"'))).toBe(true);
  });

  it("waits where the platform holds the warming prompt as well", async ({ expect }) => {
    const engine = await aServerlessEngine({ coldStartMs: 500, whileCold: "hold" });
    const cell = await aCell({
      engines: 1,
      change: withShards({ scaleToZeroSeconds: 600, coldStartSeconds: 0.6, url: engine.url }),
    });
    const streams = await Promise.all(
      [aTurn(), aTurn(), aTurn()].map(async (turn) => readStream(await cell.put(turn))),
    );
    for (const stream of streams) expect(contentOf(stream)).toContain("Simulated text:");
    expect(await engine.asked()).toStrictEqual(["ping", "hi", "hi", "hi"]);
  });

  it("is refused at once when its deadline comes before the start, which begins all the same", async ({
    expect,
  }) => {
    const cell = await aCell({
      engines: 1,
      change: withShards({ scaleToZeroSeconds: 600, coldStartSeconds: 30 }),
    });
    const [engine] = cell.engines;
    if (engine !== undefined) engine.answer = cold;
    const answer = await cell.put(aTurn({ deadlineMs: Date.now() + 5_000 }));
    expect(answer.status).toBe(503);
    expect(answer.headers.get("retry-after")).toBe("30");
    expect(await answer.json()).toMatchObject({ error: { code: "no_capacity_in_jurisdiction" } });
    await until(() => engine?.requests.length === 1);
    await until(async () => (await fetch(`${cell.url}/readyz`)).status === 200);
  });

  it("makes no loop: one warming prompt at a time, and not sooner than the platform asked for", async ({
    expect,
  }) => {
    const cell = await aCell({
      engines: 1,
      change: withShards({ scaleToZeroSeconds: 600, coldStartSeconds: 1 }),
    });
    const [engine] = cell.engines;
    if (engine !== undefined) engine.answer = cold;
    const turns = Array.from({ length: 20 }, () => aTurn({ deadlineMs: Date.now() + 2_500 }));
    const ends = await Promise.all(turns.map(async (turn) => readStream(await cell.put(turn))));
    for (const { outcome } of ends) expect(outcome?.status).toBe("failed");
    expect(engine?.requests.map(({ body }) => body["max_tokens"])).toStrictEqual([1]);
  });
});

describe("a tenant's smaller model", () => {
  const small = "sim/tiny";
  const withSmaller: NonNullable<CellOptions["change"]> = (file) => {
    const changed = withShards({ scaleToZeroSeconds: 600, coldStartSeconds: 30 })(file);
    const shards = Object.entries(changed.shards).map(([id, shard], index) => [
      id,
      index === 1 ? { ...shard, model: small } : shard,
    ]);
    const large = file.models[model];
    const degradation = { smallerModels: { [model]: small } };
    const acme = { jurisdiction: "eu", priority: "interactive", keys: [], degradation };
    return {
      ...changed,
      shards: Object.fromEntries(shards) as TopologyFile["shards"],
      models: { ...file.models, [small]: large } as TopologyFile["models"],
      tenants: { acme } as unknown as TopologyFile["tenants"],
    };
  };

  it("answers while the one asked for is cold", async ({ expect }) => {
    const cell = await aCell({ engines: 2, change: withSmaller });
    const [large] = cell.engines;
    if (large !== undefined) large.answer = cold;
    await until(async () => (await metric(cell, "meridian_shard_state")) !== null);
    const asked = async () => {
      const answer = await cell.put(aTurn({}, { stream: false }));
      return ((await answer.json()) as { model?: string }).model;
    };
    // The smaller model's shard has to give its first sign of life.
    await until(async () => (await asked()) === small);
    expect(await metric(cell, "meridian_smaller_while_cold_total")).toBeGreaterThan(0);
  });

  it("answers nobody who did not name one", async ({ expect }) => {
    const cell = await aCell({ engines: 2, change: withSmaller });
    const [large] = cell.engines;
    if (large !== undefined) large.answer = cold;
    const answer = await cell.put(aTurn({ tenant: "other", deadlineMs: Date.now() + 5_000 }));
    expect(answer.status).toBe(503);
  });
});

describe("a shard that was thought to run", () => {
  it("is left for a warm one when it says that it is cold, without a failure", async ({
    expect,
  }) => {
    const tenants = { acme: { jurisdiction: "eu", priority: "interactive" as const, keys: [] } };
    const shards = withShards(
      { scaleToZeroSeconds: 600, coldStartSeconds: 60 },
      { purchase: "spot" },
    );
    const cell = await aCell({ engines: 2, change: (file) => ({ ...shards(file), tenants }) });
    const [serverless, steady] = cell.engines;
    if (serverless === undefined || steady === undefined) throw new Error("two engines");
    // Interactive prompts rely on no spot shard alone: the other one is kept warm.
    await until(() => serverless.requests.length === 1);
    serverless.answer = cold;
    steady.answer = says("from the warm one");
    await until(async () => {
      const affinity = { homeShard: "eu-west-1a/s-0", key: "k" };
      const stream = await readStream(await cell.put(aTurn({ affinity })));
      expect(contentOf(stream)).toBe("from the warm one");
      return serverless.requests.length > 1;
    });
    const tries = 'meridian_shard_tries_total{result="cold",shard="eu-west-1a/s-0"}';
    expect(await metric(cell, tries)).toBe(1);
    const state = (lifecycle: string) =>
      metric(cell, `meridian_shard_state{shard="eu-west-1a/s-0",state="${lifecycle}"}`);
    expect(await state("warming")).toBe(1);
    expect(await state("failed")).toBe(0);
  });

  it("is waited for when it is the only one, and gets the prompt a second time only when it runs", async ({
    expect,
  }) => {
    const engine = await aServerlessEngine({ coldStartMs: 0 });
    const cell = await aCell({
      engines: 1,
      change: withShards({ scaleToZeroSeconds: 600, coldStartSeconds: 1, url: engine.url }),
    });
    await readStream(await cell.put(aTurn()));
    await engine.goCold(600);
    const stream = await readStream(await cell.put(aTurn()));
    expect(contentOf(stream)).toContain("Simulated text:");
    expect((await engine.asked()).filter((content) => content === "hi")).toHaveLength(2);
    const tries = (result: string) =>
      metric(cell, `meridian_shard_tries_total{result="${result}",`);
    expect(await tries("cold")).toBe(1);
    expect(await tries("succeeded")).toBe(2);
    expect(stream.outcome).toMatchObject({ rejected: [{ reason: "cold" }] });
  });
});

describe("another cell of the jurisdiction that runs the model", () => {
  const withNeighbour: NonNullable<CellOptions["change"]> = (file) => {
    const changed = withShards({ scaleToZeroSeconds: 600, coldStartSeconds: 1 })(file);
    const shard = { ...Object.values(file.shards)[0], cell: "eu-west-1b" };
    return {
      ...changed,
      cells: {
        ...file.cells,
        "eu-west-1b": { region: "eu-west-1", zone: "b", url: "http://127.0.0.1:1" },
      },
      shards: { ...changed.shards, "eu-west-1b/s-0": shard } as TopologyFile["shards"],
    };
  };

  it("is told to take the prompt, at once", async ({ expect }) => {
    const cell = await aCell({ engines: 1, change: withNeighbour });
    const answer = await cell.put(aTurn());
    expect(answer.status).toBe(503);
    const outcome = parseTurnOutcome(answer.headers.get(outcomeHeader) ?? "");
    expect(outcome).toMatchObject({ mayMove: true, shard: null });
    // Nor is a start paid for that nobody waits for.
    expect(await metric(cell, 'meridian_shard_state{shard="eu-west-1a/s-0",state="cold"}')).toBe(1);
    expect(cell.engines[0]?.requests).toHaveLength(0);
  });

  it("has passed it on: then it waits here", async ({ expect }) => {
    const cell = await aCell({ engines: 1, change: withNeighbour });
    const [engine] = cell.engines;
    if (engine !== undefined) engine.answer = says("late");
    const stream = await readStream(await cell.put(aTurn({ hop: 1 })));
    expect(contentOf(stream)).toBe("late");
  });
});
