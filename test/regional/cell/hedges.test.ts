import { describe, it } from "vitest";
import { hangsAfter, says } from "#test/support/fake-engine.ts";
import { fixedLevel } from "#test/support/level-policies.ts";
import { aCell, aTurn, contentOf, readStream, until } from "./harness.ts";
import type { TestCell } from "./harness.ts";

const slowShard = "eu-west-1a/s-0";

/** A cell of two shards that have both answered a moment ago; the first then says nothing any more. */
async function aSlowShard(level: 0 | 1): Promise<TestCell> {
  const cell = await aCell({ engines: 2, overrides: { levelPolicy: fixedLevel(level) } });
  for (const [index, engine] of cell.engines.entries()) {
    const affinity = { homeShard: `eu-west-1a/s-${index}`, key: "k" };
    await until(async () => {
      await (await cell.put(aTurn({ affinity }))).text();
      return engine.requests.length > 0;
    });
  }
  const [slow, other] = cell.engines;
  if (slow === undefined || other === undefined) throw new Error("two engines");
  slow.answer = hangsAfter();
  other.answer = says("from the other");
  for (const { requests } of cell.engines) requests.length = 0;
  return cell;
}

async function metricsOf(cell: TestCell): Promise<string> {
  return (await fetch(`${cell.url}/metrics`)).text();
}

const toSlow = { affinity: { homeShard: slowShard, key: "k" } };

describe("a shard that is slow to speak", () => {
  it("is passed by a hedge, aborted, and not billed", async ({ expect }) => {
    const cell = await aSlowShard(0);
    const stream = await readStream(await cell.put(aTurn(toSlow)));
    expect(contentOf(stream)).toBe("from the other");
    expect(cell.engines.map(({ requests }) => requests.length)).toEqual([1, 1]);
    await until(() => cell.engines[0]?.requests[0]?.isAborted === true);
    expect(stream.outcome).toMatchObject({ shard: "eu-west-1a/s-1", usage: { promptTokens: 7 } });
    const metrics = await metricsOf(cell);
    expect(metrics).toContain('meridian_hedges_total{result="won"} 1');
    expect(metrics).toContain(`meridian_shard_in_flight{shard="${slowShard}"} 0`);
    expect(metrics).not.toMatch(/meridian_retries_total \d/);
  });

  it("is waited for, and retried in time, at level 1", async ({ expect }) => {
    const cell = await aSlowShard(1);
    const stream = await readStream(await cell.put(aTurn(toSlow)));
    expect(contentOf(stream)).toBe("from the other");
    const metrics = await metricsOf(cell);
    expect(metrics).not.toContain("meridian_hedges_total{");
    expect(metrics).toMatch(/meridian_retries_total 1/);
    expect(metrics).toMatch(/result="firstTokenTimeout".*\} 1/);
  });
});
