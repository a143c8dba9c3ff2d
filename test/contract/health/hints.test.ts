import { once } from "node:events";
import { createServer } from "node:http";
import { afterAll, beforeAll, beforeEach, describe, it } from "vitest";
import { hintKey } from "#shared/health/hint.ts";
import { chooseCells, defaultChooseCellPolicy } from "#shared/routing/choose-cell.ts";
import type { ChooseCellResult } from "#shared/routing/choose-cell.ts";
import type { CellId } from "#shared/residency/brands.ts";
import {
  aHint,
  cells,
  central,
  east,
  eu,
  model,
  region,
  shards,
  signed,
  startHealthHarness,
  us,
  west,
} from "./harness.ts";
import type { HealthHarness, HintsUnderTest } from "./harness.ts";

let kv: HealthHarness;
beforeAll(async () => {
  kv = await startHealthHarness();
});
afterAll(() => kv.close());
beforeEach(async () => {
  await kv.clearFaults();
  await kv.redis.flushall();
});

const write = async (cell: CellId, weight: number, counter = 1): Promise<void> => {
  const text = await signed(aHint(cell, { weight, counter, atMs: kv.nowMs() }));
  await kv.redis.set(hintKey(cell), text);
};

function chooseIn(hints: HintsUnderTest, affinityKey = "key"): ChooseCellResult {
  const own = cells.filter(({ jurisdiction }) => jurisdiction === eu);
  const input = { cells: own, shards, jurisdiction: eu, model, homeCell: null, affinityKey };
  return chooseCells(
    { ...input, priority: "interactive", hints: hints.read(eu) },
    kv.nowMs(),
    () => 0.5,
    defaultChooseCellPolicy,
  );
}

describe("createHealthHints", () => {
  it("reads each cell's hint, apart by jurisdiction", async ({ expect }) => {
    await write(west, 0.25);
    await write(east, 0.75);
    const hints = kv.hints();
    expect(hints.read(eu).size).toBe(0);
    await hints.refreshed();
    expect([...hints.read(eu).keys()]).toEqual([west]);
    expect(hints.read(eu).get(west)?.weight).toBe(0.25);
    expect([...hints.read(us).keys()]).toEqual([east]);
    expect(hints.counts()).toEqual({ accepted: 2, missing: 1 });
    expect(hints.failures).toEqual([]);
  });

  it("asks at most every two seconds, and gives no request a promise to wait for", async ({
    expect,
  }) => {
    const hints = kv.hints();
    await hints.refreshed();
    const work: Promise<unknown>[] = [];
    kv.advance(1_999);
    hints.refresh((promise) => work.push(promise));
    expect(work).toHaveLength(0);
    kv.advance(1);
    const returned = hints.refresh((promise) => work.push(promise));
    expect(returned).toBeUndefined();
    expect(work).toHaveLength(1);
    await Promise.all(work);
  });

  it("goes on asking after its clock went back", async ({ expect }) => {
    const hints = kv.hints();
    await hints.refreshed();
    kv.advance(-3_600_000);
    await hints.refreshed();
    expect(hints.counts()).toEqual({ missing: 6 });
  });

  it("never turns back to a lower version", async ({ expect }) => {
    const hints = kv.hints();
    await write(west, 0.25, 8);
    await hints.refreshed();
    await write(west, 1, 7);
    await hints.refreshed();
    expect(hints.read(eu).get(west)?.weight).toBe(0.25);
    expect(hints.counts()).toMatchObject({ accepted: 1, older: 1 });
  });

  it("keeps what it knows when keys disappear", async ({ expect }) => {
    const hints = kv.hints();
    await write(west, 0.25);
    await hints.refreshed();
    await kv.redis.flushall();
    await hints.refreshed();
    expect(hints.read(eu).get(west)?.weight).toBe(0.25);
  });

  it("tries once when the connection breaks", async ({ expect }) => {
    let tries = 0;
    const server = createServer((request) => {
      tries += 1;
      request.socket.destroy();
    }).listen(0, "127.0.0.1");
    await once(server, "listening");
    const address = server.address();
    const port = typeof address === "object" ? address?.port : 0;
    const hints = kv.hints(`http://127.0.0.1:${port}`);
    await hints.refreshed();
    server.close();
    expect(tries).toBe(1);
    expect(hints.failures).toEqual(["unreachable"]);
  });

  it.for<[string, object, readonly string[]]>([
    ["dead", { kind: "dead" }, ["unreachable"]],
    ["answering 500", { kind: "status", status: 500 }, ["refused"]],
    ["answering 429", { kind: "status", status: 429 }, ["refused"]],
    ["answering garbage", { kind: "garbage" }, ["garbage"]],
    ["answering a web page", { kind: "html" }, ["garbage"]],
    ["slow", { kind: "delay", delayMs: 20_000 }, ["timeout"]],
    ["empty", { kind: "empty" }, []],
    ["frozen", { kind: "freeze" }, []],
    ["lying with a text", lie("all dead"), ["malformed"]],
    ["lying with JSON", lie('{"weight":0}'), ["malformed"]],
    ["lying with a forged MAC", lie(`${"0".repeat(64)}.{"weight":0}`), ["badMac"]],
    ["lying with a URL", lie("http://169.254.169.254/latest/meta-data"), ["malformed"]],
    ["lying with something huge", lie("x".repeat(300_000)), ["tooLong"]],
  ])(
    "with a KV that is %s, keeps its copy and every cell",
    async ([, fault, expected], { expect }) => {
      const [warm, cold] = [kv.hints(), kv.hints()];
      await write(west, 0.25);
      await write(central, 0.25);
      await warm.refreshed();
      // The replica that the edge reads; cells write to the primary, which is well.
      await kv.fault({ ...fault, region });
      await write(west, 1, 2);

      const startedMs = performance.now();
      await Promise.all([warm.refreshed(), cold.refreshed()]);
      // The limit is 50 ms; the rest is for a busy machine. Without it the slow case takes 20 s.
      expect(performance.now() - startedMs).toBeLessThan(5_000);

      expect(new Set(warm.failures)).toEqual(new Set(expected));
      expect(warm.read(eu).get(west)?.weight).toBe(0.25);
      for (let index = 0; index < 20; index += 1) {
        for (const hints of [warm, cold]) {
          const choice = chooseIn(hints, `key ${index}`);
          expect(choice).toMatchObject({ kind: "ranked", cells: [{}, {}] });
        }
      }
      kv.advance(120_000);
      // Once the copy is old, the choice is that of a Worker that never had one.
      expect(chooseIn(warm)).toEqual(chooseIn(kv.hints()));

      await kv.clearFaults();
      await warm.refreshed();
      expect(warm.read(eu).get(west)?.weight).toBe(1);
    },
  );

  it("says that the token was refused, and nothing of the answer", async ({ expect }) => {
    const hints = kv.hints(undefined, "not the token");
    await hints.refreshed();
    expect(hints.failures).toEqual(["unauthorised"]);
  });

  it("takes no cell's hint for another's, even one with a valid MAC", async ({ expect }) => {
    const hints = kv.hints();
    await kv.fault(lie((await signed(aHint(central, { weight: 0 }))) ?? ""));
    await hints.refreshed();
    expect([...hints.read(eu).keys()]).toEqual([central]);
    expect(hints.failures).toEqual(["otherCell", "otherCell"]);
  });

  it("ranks as without hints when every cell is said to be dead by its own hint", async ({
    expect,
  }) => {
    const hints = kv.hints();
    await Promise.all([write(west, 0), write(central, 0)]);
    await hints.refreshed();
    expect(hints.read(eu).size).toBe(2);
    for (let index = 0; index < 50; index += 1) {
      expect(chooseIn(hints, `key ${index}`)).toEqual(chooseIn(kv.hints(), `key ${index}`));
    }
  });
});

/** Every cell's key answers `value`. */
function lie(value: string): object {
  return { kind: "lie", key: "meridian:health:*", value };
}
