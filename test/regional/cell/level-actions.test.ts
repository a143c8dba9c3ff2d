import { describe, it } from "vitest";
import type { TopologyFile } from "#shared/config/topology.ts";
import { fixedLevel } from "#test/support/level-policies.ts";
import { hangsAfter } from "#test/support/fake-engine.ts";
import { aCell, aDurableTurn, aTurn, model, readStream, until } from "./harness.ts";
import type { TestCell } from "./harness.ts";

const small = "sim/tiny";

/** The second engine serves a smaller model, which the tenant allows, as it does cuts. */
function withSmallModel(file: TopologyFile): TopologyFile {
  const shards = Object.fromEntries(
    Object.entries(file.shards).map(([id, shard], index) => [
      id,
      index === 1 ? { ...shard, model: small } : shard,
    ]),
  );
  const large = file.models[model];
  if (large === undefined) throw new Error("the harness has the model");
  return {
    ...file,
    shards,
    models: { ...file.models, [small]: { ...large, revision: "s1" } },
    tenants: {
      acme: {
        jurisdiction: "eu",
        priority: "critical",
        keys: [],
        degradation: { smallerModels: { [model]: small }, historyCut: true },
      },
    },
  };
}

function aCellAt(level: 0 | 1 | 2 | 3 | 4, change = withSmallModel): Promise<TestCell> {
  return aCell({ engines: 2, change, overrides: { levelPolicy: fixedLevel(level) } });
}

/** Asks until the smaller model's shard has given its first sign of life and answers. */
async function smallAnswers(cell: TestCell): Promise<void> {
  await until(async () => {
    const answer = await cell.put(aTurn({ priority: "standard" }, { stream: false }));
    return ((await answer.json()) as { model: string }).model === small;
  });
}

/** Keeps all slots busy, so that the cell has no room. */
async function fill(cell: TestCell): Promise<void> {
  for (const engine of cell.engines) engine.answer = hangsAfter("x");
  for (let index = 0; index < 2; index += 1) {
    await cell.put(aTurn({ priority: "critical", tenant: `other${index}` }));
  }
}

/** One slot a shard, so that two turns fill the cell; the second shard serves the model as well. */
function aFullCellAt(level: 0 | 1 | 2 | 3 | 4): Promise<TestCell> {
  return aCell({
    engines: 2,
    concurrentRequestsMax: 1,
    overrides: { levelPolicy: fixedLevel(level) },
  });
}

describe("what a level does to a turn", () => {
  it("has the smaller model answer, which the answer, the usage and the engine name", async ({
    expect,
  }) => {
    const cell = await aCellAt(2);
    await smallAnswers(cell);
    expect(cell.engines[1]?.requests[0]?.body).toMatchObject({ model: small, max_tokens: 512 });
    await until(() => cell.usage.some((record) => JSON.stringify(record).includes(small)));
    const metrics = await (await fetch(`${cell.url}/metrics`)).text();
    expect(metrics).toContain(
      'meridian_overload_actions_total{action="smallerModel",class="standard"} 1',
    );
  });

  it("leaves the turn as it is at 0, and where the tenant allows nothing", async ({ expect }) => {
    const calm = await aCellAt(0);
    await calm.put(aTurn({ priority: "standard" }, { stream: false }));
    expect(calm.engines[0]?.requests[0]?.body).toMatchObject({ model });
    expect(calm.engines[0]?.requests[0]?.body).not.toHaveProperty("max_tokens");
    const strict = await aCellAt(2, (file) => ({ ...withSmallModel(file), tenants: {} }));
    const answer = await strict.put(aTurn({ priority: "standard" }, { stream: false }));
    expect(((await answer.json()) as { model: string }).model).toBe(model);
    expect(strict.engines[0]?.requests[0]?.body).toMatchObject({ max_tokens: 512 });
  });

  it("tells the object which model answered", async ({ expect }) => {
    const cell = await aCellAt(2);
    await smallAnswers(cell);
    const { outcome, frames } = await readStream(
      await cell.put(aDurableTurn({ priority: "standard" })),
    );
    expect(outcome?.model).toBe(small);
    expect(frames[0]?.data).toContain(`"model":"${small}"`);
  });

  it("shows the engine a shorter history", async ({ expect }) => {
    const messages = Array.from({ length: 41 }, (_, index) => ({
      role: index % 2 === 0 ? "user" : "assistant",
      content: index === 40 ? "last" : "x".repeat(2_000),
    }));
    const turn = aTurn({ priority: "standard" }, { stream: false });
    const engine = { ...(turn["engine"] as object), body: { messages } };
    const lengthAt = async (level: 1 | 2): Promise<number> => {
      const cell = await aCellAt(level);
      await cell.put({ ...turn, engine });
      const seen = cell.engines.flatMap(({ requests }) => requests)[0]?.body["messages"];
      return Array.isArray(seen) ? seen.length : 0;
    };
    expect(await lengthAt(1)).toBe(41);
    expect(await lengthAt(2)).toBeLessThan(11);
  });
});

describe("whom a level refuses", () => {
  it("at 3 and 4 batch and new standard conversations, while the cell is full", async ({
    expect,
  }) => {
    for (const [level, status] of [
      [3, 429],
      [4, 429],
    ] as const) {
      const cell = await aFullCellAt(level);
      await fill(cell);
      for (const priority of ["standard", "batch"]) {
        const refused = await cell.put(aTurn({ priority }));
        expect(refused.status).toBe(status);
        expect(refused.headers.get("x-overload")).toBe("cell");
        expect(refused.headers.get("x-meridian-level")).toBe(String(level));
        expect(Number(refused.headers.get("retry-after"))).toBeGreaterThan(0);
        expect(await refused.json()).toMatchObject({ error: { code: "saturated" } });
      }
    }
  });

  it("nobody at 3 and 4 while there is room", async ({ expect }) => {
    for (const level of [3, 4] as const) {
      const cell = await aCell({ overrides: { levelPolicy: fixedLevel(level) } });
      await until(() => cell.logLines.some((line) => line.includes("level_changed")));
      for (const priority of ["critical", "interactive", "standard", "batch"]) {
        const answer = await cell.put(aTurn({ priority }, { stream: false }));
        expect(answer.status).toBe(200);
      }
    }
  });
});

describe("batch at level 1", () => {
  it("waits for room, and runs when there is", async ({ expect }) => {
    const cell = await aFullCellAt(1);
    await fill(cell);
    const stop = new AbortController();
    const waiting = cell.put(aTurn({ priority: "batch" }, { stream: false }), {
      signal: stop.signal,
    });
    await until(async () => {
      const text = await (await fetch(`${cell.url}/metrics`)).text();
      return text.includes("meridian_deferred_turns 1");
    });
    expect(cell.engines.flatMap(({ requests }) => requests)).toHaveLength(2);
    stop.abort();
    await waiting.catch(() => undefined);
    await until(async () => {
      const text = await (await fetch(`${cell.url}/metrics`)).text();
      return text.includes("meridian_deferred_turns 0");
    });
  });

  it("runs at once where the cell has room", async ({ expect }) => {
    const cell = await aCell({ overrides: { levelPolicy: fixedLevel(1) } });
    const answer = await cell.put(aTurn({ priority: "batch" }, { stream: false }));
    expect(answer.status).toBe(200);
  });
});
