import { describe, it } from "vitest";
import { hangsAfter } from "#test/support/fake-engine.ts";
import { aCell, aDurableTurn, contentOf, readStream, until } from "./harness.ts";
import type { TestCell, TestTurn } from "./harness.ts";

function pathOf(turn: TestTurn): string {
  return `/internal/turns/${turn.turnId}`;
}

function start(cell: TestCell, turn: TestTurn): Promise<Response> {
  return cell.call("PUT", `${pathOf(turn)}?attempt=${turn.attempt}&detached=true`, turn);
}

function engineOf(cell: TestCell) {
  const [engine] = cell.engines;
  if (engine === undefined) throw new Error("no engine");
  return engine;
}

describe("a turn that is started without a reader", () => {
  it("is answered before the engine says anything, runs once, and is read later", async ({
    expect,
  }) => {
    const cell = await aCell({ engines: 1 });
    const engine = engineOf(cell);
    const { answer } = engine;
    engine.answer = hangsAfter("");
    const slow = aDurableTurn();
    const response = await start(cell, slow);
    expect(response.status).toBe(202);
    expect(await response.json()).toEqual({ kind: "started" });
    engine.answer = answer;
    const turn = aDurableTurn();
    expect((await start(cell, turn)).status).toBe(202);
    expect(await (await start(cell, turn)).json()).toEqual({ kind: "joined" });
    const frames = await cell.call("GET", `${pathOf(turn)}/frames?attempt=1&after=0`);
    const stream = await readStream(frames);
    expect(contentOf(stream)).toBe("Hello world");
    expect(stream.outcome?.status).toBe("completed");
    expect(engine.requests).toHaveLength(2);
  });

  it("is refused by a cell that drains, and by one that knows a later attempt", async ({
    expect,
  }) => {
    const cell = await aCell({ engines: 1 });
    const turn = aDurableTurn();
    expect((await start(cell, { ...turn, attempt: 2 })).status).toBe(202);
    expect((await start(cell, turn)).status).toBe(409);
    await cell.drain(0);
    const refused = await start(cell, aDurableTurn());
    expect(refused.status).toBe(503);
    expect(await refused.json()).toMatchObject({ error: { code: "draining" } });
  });
});

describe("a turn that is stopped", () => {
  it("aborts the shard's request, and answers with what was generated and its usage", async ({
    expect,
  }) => {
    const cell = await aCell({ engines: 1 });
    const engine = engineOf(cell);
    engine.answer = hangsAfter("Hello");
    const turn = aDurableTurn();
    await start(cell, turn);
    const framesPath = `${pathOf(turn)}/frames?attempt=1&after=0`;
    const reading = await cell.call("GET", framesPath);
    const reader = reading.body?.getReader();
    let seen = "";
    while (reader !== undefined && !seen.includes("Hello")) {
      const { value } = await reader.read();
      seen += new TextDecoder().decode(value);
    }
    await reader?.cancel();
    const beganMs = Date.now();
    const stopped = await cell.call("DELETE", `${pathOf(turn)}?attempt=1&after=1`);
    const stream = await readStream(stopped);
    await until(() => engine.requests[0]?.isAborted === true);
    expect(Date.now() - beganMs).toBeLessThan(500);
    expect(stream.frames[0]?.seq).toBe(2);
    expect(stream.outcome).toMatchObject({ status: "cancelled" });
    expect(stream.outcome?.usage.completionTokens).toBeGreaterThan(0);
    expect((await cell.call("GET", framesPath)).status).toBe(404);
  });

  it("that had ended answers with its whole end", async ({ expect }) => {
    const cell = await aCell({ engines: 1 });
    const turn = aDurableTurn();
    await (await cell.put(turn)).text();
    const stream = await readStream(await cell.call("DELETE", `${pathOf(turn)}?attempt=1&after=0`));
    expect(stream.outcome).toMatchObject({ status: "completed", error: null });
    expect(stream.frames.at(-1)?.data).toBe("[DONE]");
  });

  it("is not found where it never was, or another attempt runs", async ({ expect }) => {
    const cell = await aCell({ engines: 1 });
    const turn = aDurableTurn({ attempt: 2 });
    expect((await cell.call("DELETE", `${pathOf(turn)}?attempt=2&after=0`)).status).toBe(404);
    await (await cell.put(turn)).text();
    expect((await cell.call("DELETE", `${pathOf(turn)}?attempt=1&after=0`)).status).toBe(404);
  });
});
