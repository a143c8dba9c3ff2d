import { mkdtemp, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { describe, it, onTestFinished } from "vitest";
import { createDrainFile } from "#regional/adapters/drain-file.ts";
import { hangsAfter, says } from "#test/support/fake-engine.ts";
import {
  aCell,
  aCellOf,
  aDurableTurn,
  aTurn,
  contentOf,
  engineOf,
  rankedEngines,
  readStream,
  until,
} from "./harness.ts";
import type { TestCell } from "./harness.ts";

const shards = "/internal/shards";

interface ShardState {
  readonly id: string;
  readonly state: string;
  readonly inFlight: number;
}

async function statesOf(cell: TestCell): Promise<readonly ShardState[]> {
  const answer = (await (await cell.call("GET", shards)).json()) as { shards: ShardState[] };
  return answer.shards;
}

async function command(cell: TestCell, body: unknown): Promise<Response> {
  return cell.call("POST", shards, body);
}

/** The shard that turns without a home go to. */
async function firstShard(cell: TestCell): Promise<string> {
  const { outcome } = await readStream(await cell.put(aTurn()));
  return String(outcome?.shard);
}

async function aFolder(): Promise<string> {
  const folder = await mkdtemp(path.join(tmpdir(), "drain-"));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

describe("a drained shard", () => {
  it("gets no new turn, and again when it is undrained", async ({ expect }) => {
    const cell = await aCell();
    const first = await firstShard(cell);
    await command(cell, { kind: "drain", shard: first, deadlineMs: 60_000 });
    const away = await readStream(await cell.put(aTurn()));
    expect(away.outcome?.status).toBe("completed");
    expect(away.outcome?.shard).not.toBe(first);
    expect(away.outcome?.rejected).toContainEqual({ id: first, reason: "draining" });
    await command(cell, { kind: "undrain", shard: first });
    expect(await firstShard(cell)).toBe(first);
  });

  it("does not get its own conversations either", async ({ expect }) => {
    const cell = await aCell();
    const first = await firstShard(cell);
    await command(cell, { kind: "drain", shard: first, deadlineMs: 60_000 });
    const turn = aDurableTurn({ affinity: { homeShard: first, key: "affinity" } });
    const { outcome } = await readStream(await cell.put(turn));
    expect([outcome?.status, outcome?.shard === first]).toEqual(["completed", false]);
  });

  it("lets its running turns end", async ({ expect }) => {
    const cell = await aCell();
    const [engine] = await rankedEngines(cell);
    engine.answer = hangsAfter("Hel");
    const begun = await cell.put(aTurn());
    const shard = begun.headers.get("x-meridian-shard");
    const answer = await command(cell, { kind: "drain", shard, deadlineMs: 60_000 });
    const state = (await answer.json()) as { shards: ShardState[] };
    expect(state.shards).toEqual([expect.objectContaining({ state: "draining", inFlight: 1 })]);
    await begun.body?.cancel();
    await until(async () => (await statesOf(cell)).some((one) => one.state === "drained"));
  });

  it.for([aTurn, aDurableTurn])(
    "has its turns go on elsewhere at the deadline, byte for byte",
    async (make, { expect }) => {
      const cell = await aCell();
      const [first, second] = await rankedEngines(cell);
      first.answer = hangsAfter("Hel");
      second.answer = says("Hel", "lo", " world");
      const begun = await cell.put(make());
      const shard = begun.headers.get("x-meridian-shard");
      const stream = readStream(begun);
      await command(cell, { kind: "drain", shard, deadlineMs: 0 });
      const { outcome, ...rest } = await stream;
      expect(contentOf({ outcome, ...rest })).toBe("Hello world");
      expect(outcome).toMatchObject({ status: "completed", continuations: 1 });
      expect(outcome?.rejected).toContainEqual({ id: shard, reason: "drained" });
      await until(() => first.requests[0]?.isAborted === true);
      expect((await statesOf(cell)).find(({ id }) => id === shard)?.state).toBe("drained");
    },
  );

  it("is not counted as failed", async ({ expect }) => {
    const cell = await aCell();
    const [first, second] = await rankedEngines(cell);
    first.answer = hangsAfter("Hel");
    second.answer = says("Hel", "lo");
    for (let turn = 0; turn < 8; turn += 1) {
      const begun = await cell.put(aTurn());
      const shard = begun.headers.get("x-meridian-shard");
      await command(cell, { kind: "drain", shard, deadlineMs: 0 });
      await begun.text();
      await command(cell, { kind: "undrain", shard });
    }
    const metrics = await (await fetch(`${cell.url}/metrics`)).text();
    expect(metrics).not.toMatch(/breaker_state\{[^}]*state="open"/);
  });

  it("leaves a begun answer to the edge when the cell has no other shard", async ({ expect }) => {
    const cell = await aCell({ engines: 1 });
    const [engine] = cell.engines;
    if (engine !== undefined) engine.answer = hangsAfter("Hel");
    const begun = await cell.put(aTurn());
    await command(cell, {
      kind: "drain",
      shard: begun.headers.get("x-meridian-shard"),
      deadlineMs: 0,
    });
    const { outcome } = await readStream(begun);
    expect(outcome).toMatchObject({ status: "failed", mayMove: true });
  });

  it("makes the cell say that it has no usable shard when it was the last", async ({ expect }) => {
    const cell = await aCell({ engines: 1 });
    const shard = await firstShard(cell);
    await until(async () => (await fetch(`${cell.url}/readyz`)).ok);
    await command(cell, { kind: "drain", shard, deadlineMs: 0 });
    const refused = await cell.put(aTurn());
    expect(refused.status).toBe(503);
    const ready = await fetch(`${cell.url}/readyz`);
    expect(await ready.json()).toMatchObject({ reasons: ["noUsableShard"] });
  });
});

describe("a command", () => {
  it.for<[unknown, number]>([
    [{ kind: "drain", shard: "eu-west-1a/none", deadlineMs: 0 }, 404],
    [{ kind: "drain", shard: "eu-west-1a/s-0" }, 400],
    [{ kind: "drain", shard: "eu-west-1a/s-0", deadlineMs: -1 }, 400],
    [{ kind: "undrain", shard: "eu-west-1a/s-0", deadlineMs: 1 }, 400],
    [null, 400],
  ])("that is wrong is refused: %j", async ([body, status], { expect }) => {
    const cell = await aCell({ engines: 1 });
    expect((await command(cell, body)).status).toBe(status);
  });

  it("is refused unless it is signed for this cell", async ({ expect }) => {
    const cell = await aCell({ engines: 1 });
    const get = await fetch(`${cell.url}${shards}`);
    const body = { kind: "drain", shard: "eu-west-1a/s-0", deadlineMs: 0 };
    const other = await cell.call("POST", shards, body, { sign: { cell: "us-east-1a" } });
    expect([get.status, other.status]).toEqual([401, 401]);
    expect((await statesOf(cell))[0]?.state).toBe("active");
  });
});

describe("the drain file", () => {
  it("keeps a drain over a restart of the cell", async ({ expect }) => {
    const folder = await aFolder();
    const drainFile = createDrainFile(folder);
    const before = await aCell({ overrides: { drainFile } });
    const first = await firstShard(before);
    await command(before, { kind: "drain", shard: first, deadlineMs: 60_000 });
    const after = await aCellOf(before.engines, { overrides: { drainFile } });
    const { outcome } = await readStream(await after.put(aTurn()));
    expect([outcome?.status, outcome?.shard === first]).toEqual(["completed", false]);
    expect(engineOf(after, first).requests).toHaveLength(1);
    await command(after, { kind: "undrain", shard: first });
    expect(drainFile.read()).toEqual([]);
  });

  it("is replaced whole and leaves nothing beside it", async ({ expect }) => {
    const folder = await aFolder();
    const file = createDrainFile(path.join(folder, "new"));
    expect(file.read()).toEqual([]);
    const record = { shard: "eu-west-1a/s-0", sinceMs: 1, deadlineMs: 2 };
    file.write([record]);
    file.write([{ ...record, deadlineMs: 3 }]);
    expect(file.read()).toEqual([{ ...record, deadlineMs: 3 }]);
    expect(await readdir(path.join(folder, "new"))).toEqual(["drained-shards.json"]);
  });

  it.for(["", "{", '{"v":2,"shards":[]}', '{"v":1,"shards":[{"shard":""}]}'])(
    "is an error and not an empty list when it holds %j",
    async (text, { expect }) => {
      const folder = await aFolder();
      await writeFile(path.join(folder, "drained-shards.json"), text);
      await expect(aCell({ overrides: { drainFile: createDrainFile(folder) } })).rejects.toThrow();
      expect(await readFile(path.join(folder, "drained-shards.json"), "utf8")).toBe(text);
    },
  );

  it("that cannot be written leaves the shard as it was", async ({ expect }) => {
    const write = (): never => {
      throw new Error("disk full");
    };
    const cell = await aCell({ engines: 1, overrides: { drainFile: { read: () => [], write } } });
    const body = { kind: "drain", shard: "eu-west-1a/s-0", deadlineMs: 0 };
    expect((await command(cell, body)).status).toBe(500);
    expect((await statesOf(cell))[0]?.state).toBe("active");
  });
});

describe("a cell that ends", () => {
  it.for([aTurn, aDurableTurn])(
    "hands begun answers over when its time is up",
    async (make, { expect }) => {
      const cell = await aCell();
      for (const engine of cell.engines) engine.answer = hangsAfter("Hel");
      const begun = await cell.put(make());
      const stream = readStream(begun);
      await cell.drain(10);
      const { outcome } = await stream;
      expect(outcome).toMatchObject({
        status: "failed",
        mayMove: true,
        error: { code: "interrupted" },
      });
    },
  );

  it("hands over what its client has seen nothing of as draining", async ({ expect }) => {
    const cell = await aCell();
    for (const engine of cell.engines) engine.answer = hangsAfter("Hel");
    const plain = cell.put(aTurn({}, { stream: false }));
    const durable = cell.put(aDurableTurn({}, { stream: false }));
    await until(() => cell.engines.flatMap(({ requests }) => requests).length === 2);
    const refused = await cell.put(aTurn()).then(async (response) => {
      await response.body?.cancel();
      return response.status;
    });
    expect(refused).toBe(200);
    await cell.drain(10);
    expect((await plain).status).toBe(503);
    const { outcome } = await readStream(await durable);
    expect(outcome).toMatchObject({ mayMove: true, error: { code: "draining" } });
  });
});
