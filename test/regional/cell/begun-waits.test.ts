import { describe, it } from "vitest";
import { cutsAfter, says } from "#test/support/fake-engine.ts";
import type { FakeEngine } from "#test/support/fake-engine.ts";
import { aCell, aDurableTurn, aTurn, contentOf, readStream, until } from "./harness.ts";
import type { CellOptions, ReadStream, TestCell } from "./harness.ts";

async function metric(cell: TestCell, start: string): Promise<number | null> {
  const text = await (await fetch(`${cell.url}/metrics`)).text();
  const line = text.split("\n").find((one) => one.startsWith(start));
  return line === undefined ? null : Number(line.split(" ").at(-1));
}

const waiting = (cell: TestCell) => metric(cell, "meridian_begun_turns_waiting");

/** A cell whose only shard dies as soon as it has said `Hel`. */
async function aDyingCell(options: CellOptions = {}) {
  const cell = await aCell({ engines: 1, ...options });
  const [engine] = cell.engines;
  if (engine === undefined) throw new Error("no engine");
  await until(async () => (await fetch(`${cell.url}/readyz`)).status === 200);
  const dying = cutsAfter("Hel");
  engine.answer = (response, seen) => {
    engine.health = 503;
    engine.answer = (refused) => void refused.destroy();
    return dying(response, seen);
  };
  return { cell, engine };
}

function restart(engine: FakeEngine): void {
  engine.answer = says("Hello", " world");
  engine.health = 200;
}

/** Starts `turn` and waits until its answer waits for a shard. */
async function aWaitingTurn(cell: TestCell, turn = aTurn(), signal?: AbortSignal) {
  const response = await cell.put(turn, signal === undefined ? {} : { signal });
  await until(async () => (await waiting(cell)) === 1);
  return response;
}

function lastErrorOf({ frames }: ReadStream): unknown {
  const last = frames.findLast(({ data }) => data.startsWith("{"));
  return (JSON.parse(last?.data ?? "{}") as { error?: { code?: unknown } }).error?.code;
}

describe("a begun answer whose only shard dies", () => {
  it.for([
    ["stateless", aTurn],
    ["durable", aDurableTurn],
  ] as const)(
    "goes on behind its last token when the shard is back, and is billed once: %s",
    async ([lane, make], { expect }) => {
      const { cell, engine } = await aDyingCell();
      const response = await aWaitingTurn(cell, make());
      const asked = engine.requests.length;
      const shownLate: string[] = [];
      const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader();
      if (reader === undefined) throw new Error("no body");
      let text = "";
      const isAlive = (): boolean => text.includes(": keep-alive");
      while (!isAlive()) text += (await reader.read()).value ?? "";
      expect(engine.requests).toHaveLength(asked);
      restart(engine);
      for (let part = await reader.read(); !part.done; part = await reader.read()) {
        shownLate.push(part.value);
      }
      text += shownLate.join("");
      const stream = await readStream(new Response(text));
      expect(contentOf(stream)).toBe("Hello world");
      expect(stream.frames.filter(({ data }) => data === "[DONE]")).toHaveLength(1);
      expect(stream.outcome).toMatchObject({ status: "completed", continuations: 1 });
      // The probe that found it alive told the cell: it was asked for the rest, once.
      expect(engine.requests).toHaveLength(asked + 1);
      expect(await waiting(cell)).toBe(0);
      // A durable turn's usage is its object's.
      await until(() => cell.usage.length === (lane === "stateless" ? 1 : 0));
    },
  );

  it("ends with an event when the shard does not come back in time, and may go on elsewhere", async ({
    expect,
  }) => {
    const { cell } = await aDyingCell({ overrides: { turnPolicy: { waitMsMax: 400 } } });
    const stream = await readStream(await cell.put(aTurn()));
    expect(contentOf(stream)).toBe("Hel");
    expect(lastErrorOf(stream)).toBe("interrupted");
    expect(stream.outcome).toMatchObject({ status: "failed", mayMove: true });
    expect(await metric(cell, 'meridian_begun_waits_total{model="sim/llama",reason="wai')).toBe(1);
    expect(cell.logLines.filter((line) => line.includes('"begun_turn_waits"'))).toHaveLength(2);
  });

  it("of a cell that had it from another one is not passed round", async ({ expect }) => {
    const { cell } = await aDyingCell({ overrides: { turnPolicy: { waitMsMax: 400 } } });
    const stream = await readStream(await cell.put(aTurn({ hop: 1 })));
    expect(stream.outcome).toMatchObject({ error: { code: "interrupted" }, mayMove: false });
  });

  it("never waits past its deadline", async ({ expect }) => {
    const { cell } = await aDyingCell();
    const stream = await readStream(await cell.put(aTurn({ deadlineMs: Date.now() + 1_500 })));
    expect(lastErrorOf(stream)).toBe("deadline_exceeded");
    expect(await waiting(cell)).toBe(0);
  });

  it("holds up no prompt that has not begun: that one is refused at once", async ({ expect }) => {
    const { cell } = await aDyingCell();
    const response = await aWaitingTurn(cell);
    const refused = await cell.put(aTurn());
    expect(refused.status).toBe(503);
    expect(await refused.json()).toMatchObject({ error: { code: "no_capacity_in_jurisdiction" } });
    expect(await waiting(cell)).toBe(1);
    await response.body?.cancel();
  });

  it("is not waited for without its client", async ({ expect }) => {
    const { cell, engine } = await aDyingCell();
    const gone = new AbortController();
    await aWaitingTurn(cell, aTurn(), gone.signal);
    gone.abort();
    await until(async () => (await waiting(cell)) === 0);
    const asked = engine.requests.length;
    restart(engine);
    await until(async () => (await (await cell.put(aTurn())).text()).includes("[DONE]"));
    expect(engine.requests.slice(asked).map(({ body }) => body["continue_final_message"])).toEqual(
      engine.requests.slice(asked).map(() => undefined),
    );
  });

  it("is handed over at once by a cell that ends", async ({ expect }) => {
    const { cell } = await aDyingCell();
    const stream = readStream(await aWaitingTurn(cell, aDurableTurn()));
    await cell.drain(5_000);
    expect((await stream).outcome).toMatchObject({ status: "failed", mayMove: true });
  });
});
