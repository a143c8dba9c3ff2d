import { describe, it } from "vitest";
import type { TopologyFile } from "#shared/config/topology.ts";
import { deltaChunk, doneChunk, openStream, usageChunk } from "#test/support/fake-engine.ts";
import type { EngineAnswer } from "#test/support/fake-engine.ts";
import { aCell, aTurn, contentOf, readStream, until } from "./harness.ts";
import type { TestCell } from "./harness.ts";

/** A chat server that tells its usage in streams or not; it has nothing beyond OpenAI's API. */
function aServer(tellsUsage: () => boolean): EngineAnswer {
  return (response, { body, path }) => {
    if (path === "/v1/models") {
      response.writeHead(200, { "content-type": "application/json" });
      return void response.end(JSON.stringify({ data: [{ id: "sim/llama" }] }));
    }
    if (!path.startsWith("/v1/chat") || body["stream"] !== true) {
      return void response.writeHead(404).end();
    }
    openStream(response);
    const usage = "stream_options" in body && tellsUsage() ? usageChunk : "";
    response.end(deltaChunk("Hello") + deltaChunk(" world", "stop") + usage + doneChunk);
  };
}

/** The cell's shard as a server of which only its usage is to be found out. */
function openAiCompatible(file: TopologyFile): TopologyFile {
  const abilities = {
    tokenIds: false,
    continueFinalMessage: false,
    cacheSalt: false,
    priority: false,
    loadHeader: false,
    metrics: "none",
  } as const;
  const shards = Object.entries(file.shards).map(([id, shard]) => {
    const url = shard.backend.kind === "simulated" ? (shard.backend.url ?? "") : "";
    return [id, { ...shard, backend: { kind: "openai-compatible" as const, url, abilities } }];
  });
  return { ...file, shards: Object.fromEntries(shards) as TopologyFile["shards"] };
}

async function metric(cell: TestCell, start: string): Promise<number | null> {
  const text = await (await fetch(`${cell.url}/metrics`)).text();
  const line = text.split("\n").find((one) => one.startsWith(start));
  return line === undefined ? null : Number(line.split(" ").at(-1));
}

const usageAbility = 'meridian_shard_ability{ability="usageInStream",shard="eu-west-1a/s-0"';
const estimates = 'meridian_usage_estimated_total{shard="eu-west-1a/s-0"}';

/** Bodies of the prompts; those of probes have other words. */
function promptsOf({ engines: [engine] }: TestCell) {
  const bodies = engine?.requests.map(({ body }) => body) ?? [];
  return bodies.filter((body) => JSON.stringify(body["messages"] ?? "").includes('"hi"'));
}

describe("an engine that is asked for the usage of its streams", () => {
  it("and tells it is billed by it", async ({ expect }) => {
    const cell = await aCell({ engines: 1, change: openAiCompatible });
    for (const engine of cell.engines) engine.answer = aServer(() => true);
    expect(contentOf(await readStream(await cell.put(aTurn())))).toBe("Hello world");
    await until(() => cell.usage.length === 1);
    expect(cell.usage[0]).toMatchObject({ promptTokens: 7, completionTokens: 3 });
    expect(await metric(cell, estimates)).toBeNull();
    expect(await metric(cell, usageAbility)).toBe(1);
  });

  it("and tells none is billed by the cell's count, and is not taken to tell any from then on", async ({
    expect,
  }) => {
    let tellsUsage = true;
    const cell = await aCell({ engines: 1, change: openAiCompatible });
    for (const engine of cell.engines) engine.answer = aServer(() => tellsUsage);
    // Its probe shows that it tells usage; then it does no longer.
    await until(async () => (await metric(cell, `${usageAbility},source="probed"`)) === 1);
    tellsUsage = false;
    const stream = await readStream(await cell.put(aTurn()));
    expect(contentOf(stream)).toBe("Hello world");
    await until(() => cell.usage.length === 1);
    // The estimate of the prompt, and a token for each piece.
    expect(cell.usage[0]).toMatchObject({ promptTokens: 2, completionTokens: 2 });
    expect(await metric(cell, estimates)).toBe(1);
    expect(await metric(cell, `${usageAbility},source="partly"`)).toBe(0);
    expect(cell.logLines.some((line) => line.includes('"usage_estimated"'))).toBe(true);
    await (await cell.put(aTurn())).text();
    const [first, second] = promptsOf(cell);
    expect(first).toHaveProperty("stream_options");
    expect(second).not.toHaveProperty("stream_options");
    expect(await metric(cell, estimates)).toBe(2);
  });
});

describe("what the engines of a cell can do", () => {
  it("is a metric, with how it is known", async ({ expect }) => {
    const cell = await aCell({ engines: 1 });
    const text = await (await fetch(`${cell.url}/metrics`)).text();
    const lines = text.split("\n").filter((line) => line.startsWith("meridian_shard_ability{"));
    const told = lines.map((line) =>
      /ability="(\w+)",shard=".*",source="stated"} ([01])$/.exec(line)?.slice(1),
    );
    expect(told).toStrictEqual([
      ["tokenIds", "1"],
      ["continueFinalMessage", "1"],
      ["cacheSalt", "1"],
      ["priority", "0"],
      ["loadHeader", "1"],
      ["usageInStream", "1"],
      ["metrics", "1"],
    ]);
  });
});
