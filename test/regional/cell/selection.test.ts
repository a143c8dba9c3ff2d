import { describe, it } from "vitest";
import {
  deltaChunk,
  doneChunk,
  hangsAfter,
  openStream,
  usageChunk,
} from "#test/support/fake-engine.ts";
import { aCell, aDurableTurn, aTurn, engineOf, readStream, until } from "./harness.ts";
import type { TestCell } from "./harness.ts";

async function shardOf(cell: TestCell, turn = aTurn()): Promise<string> {
  const { outcome } = await readStream(await cell.put(turn));
  if (outcome?.shard === null || outcome === null) throw new Error("the turn had no shard");
  return outcome.shard;
}

async function metricsOf(cell: TestCell): Promise<string> {
  return (await fetch(`${cell.url}/metrics`)).text();
}

/** A turn of a conversation that is at home on `shard`. */
function aTurnAtHome(shard: string, conversationId = "conv_eu_1") {
  return aDurableTurn({ conversationId, affinity: { homeShard: shard, key: "affinity" } });
}

describe("the choice of a shard", () => {
  it("keeps a conversation on its home, whichever its key ranks first", async ({ expect }) => {
    const cell = await aCell({ engines: 3 });
    for (const home of ["eu-west-1a/s-0", "eu-west-1a/s-1", "eu-west-1a/s-2"]) {
      for (let turn = 0; turn < 5; turn += 1)
        expect(await shardOf(cell, aTurnAtHome(home, `conv_eu_${home}`))).toBe(home);
    }
  });

  it("spills a turn whose home has no room, and tells the object to keep the home", async ({
    expect,
  }) => {
    const cell = await aCell({ engines: 2, concurrentRequestsMax: 1 });
    const [first] = cell.engines;
    if (first !== undefined) first.answer = hangsAfter("x");
    const busy = await cell.put(aTurnAtHome("eu-west-1a/s-0", "conv_eu_2"));
    const { outcome } = await readStream(await cell.put(aTurnAtHome("eu-west-1a/s-0")));
    expect(outcome).toMatchObject({ shard: "eu-west-1a/s-1", spill: "once", status: "completed" });
    await busy.body?.cancel();
  });

  it("tells nothing of a spill when the turn ran at home, or the home may not be used", async ({
    expect,
  }) => {
    const cell = await aCell();
    for (const home of ["eu-west-1a/s-0", "eu-west-1a/gone"]) {
      const { outcome } = await readStream(await cell.put(aTurnAtHome(home)));
      expect(outcome?.status).toBe("completed");
      expect(outcome).not.toHaveProperty("spill");
    }
  });

  it("spreads prompts of one key that come at once, as far as one shard's memory goes", async ({
    expect,
  }) => {
    const cell = await aCell({ engines: 2 });
    const held = Promise.withResolvers<void>();
    for (const engine of cell.engines) {
      engine.answer = async (response) => {
        openStream(response);
        await held.promise;
        response.end(deltaChunk("x", "stop") + usageChunk + doneChunk);
      };
    }
    // 200 tokens each, of 1,000: a shard is full with five of them.
    const engine = {
      ...(aTurn()["engine"] as object),
      promptTokensEstimate: 100,
      completionTokensMax: 100,
    };
    const turns = Array.from({ length: 8 }, () => cell.put(aTurn({ engine })));
    const sent = (): readonly number[] => cell.engines.map(({ requests }) => requests.length);
    const total = (): number => sent().reduce((sum, count) => sum + count, 0);
    await until(() => total() === 8);
    held.resolve();
    for (const turn of turns) await (await turn).text();
    expect(Math.min(...sent())).toBeGreaterThanOrEqual(3);
  });

  it("is logged with its reason and the next best, and counted", async ({ expect }) => {
    const cell = await aCell();
    const shard = await shardOf(cell);
    const other = shard.endsWith("0") ? "eu-west-1a/s-1" : "eu-west-1a/s-0";
    const line = cell.logLines.find((one) => one.includes("shard_chosen"));
    const record = JSON.parse(line ?? "{}") as Record<string, unknown>;
    expect(record).toMatchObject({ level: "debug", tenant: "acme", shard, reason: "affinity" });
    expect(record["runnersUp"]).toMatch(new RegExp(`^${other}=\\d`));
    expect(record["score"]).toBeTypeOf("number");
    expect(record["predictedTtftMs"]).toBeGreaterThan(0);
    expect(record["policyVersion"]).toMatch(/^[0-9a-f]{16}$/);
    expect(await metricsOf(cell)).toContain('meridian_selections_total{reason="affinity"} 1');
    expect(engineOf(cell, shard).requests).toHaveLength(1);
  });

  it("sees what a shard does for others in its engine's metrics, in vLLM's names and SGLang's", async ({
    expect,
  }) => {
    const cell = await aCell();
    const first = await shardOf(cell);
    engineOf(cell, first).metrics =
      'vllm:num_requests_running{engine="0"} 50\nvllm:num_requests_waiting{engine="0"} 9\n';
    const saturated = `meridian_shard_saturation_ratio{shard="${first}"} 0.8`;
    await until(async () => (await metricsOf(cell)).includes(saturated));
    expect(await shardOf(cell)).not.toBe(first);
    engineOf(cell, first).metrics = "sglang:num_running_reqs 0\n";
    const idle = `meridian_shard_saturation_ratio{shard="${first}"} 0\n`;
    await until(async () => (await metricsOf(cell)).includes(idle));
    expect(await shardOf(cell)).toBe(first);
  });

  it("reads the load that comes with an answer, and asks for it", async ({ expect }) => {
    const cell = await aCell();
    const first = await shardOf(cell);
    const engine = engineOf(cell, first);
    engine.answer = (response) => {
      response.writeHead(200, {
        "content-type": "text/event-stream",
        "endpoint-load-metrics": "TEXT named_metrics.kv_cache_usage_perc=0.84",
      });
      response.end(deltaChunk("x", "stop") + usageChunk + doneChunk);
    };
    await shardOf(cell);
    expect(engine.requests.at(-1)?.headers["endpoint-load-metrics-format"]).toBe("TEXT");
    expect(await metricsOf(cell)).toMatch(
      new RegExp(`meridian_shard_kv_ratio\\{shard="${first}"\\} 0\\.[67]`),
    );
  });
});
