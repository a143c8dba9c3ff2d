import { describe, expect, it } from "vitest";
import { seededRandom } from "#dev/simulated-engine/model/step-time.ts";
import type { CellDescription, ShardDescription } from "#shared/config/topology.ts";
import type { CellHint, ShardHint } from "#shared/health/hint.ts";
import type { CellId, Jurisdiction, RegionId, ShardId } from "#shared/residency/brands.ts";
import { chooseCells, defaultChooseCellPolicy } from "#shared/routing/choose-cell.ts";
import type { ChooseCellInput } from "#shared/routing/choose-cell.ts";

const nowMs = 1_800_000_000_000;
const eu = "eu" as Jurisdiction;
const west = "eu-west-1a" as CellId;
const north = "eu-north-1a" as CellId;
const central = "eu-central-1a" as CellId;
const model = "llama";

const aCell = (id: CellId, jurisdiction = eu): CellDescription => ({
  id,
  jurisdiction,
  region: id.slice(0, -1) as RegionId,
  zone: "a",
  url: "http://127.0.0.1:1",
});

const aShard = (cell: CellId, name = "llama-0", served = model): ShardDescription => ({
  id: `${cell}/${name}` as ShardId,
  cell,
  model: served,
  revision: "r1",
  backend: { kind: "simulated" },
  concurrentRequestsMax: 64,
  kvTokensMax: 1_000,
  purchase: "on-demand",
  pricePerHourMicroUsd: 0,
});

const aShardHint = (id: string, weight: number): ShardHint => ({
  id,
  weight,
  state: "ready",
  inFlight: 0,
  queued: 0,
  breaker: "closed",
});

const aHint = (cell: CellId, overrides: Partial<CellHint> = {}): CellHint => ({
  v: 1,
  cell,
  boot: 1,
  counter: 1,
  atMs: nowMs,
  weight: 1,
  saturation: 0,
  level: 0,
  models: [model],
  shards: [],
  ...overrides,
});

const hintsOf = (...hints: readonly CellHint[]): ReadonlyMap<CellId, CellHint> =>
  new Map(hints.map((hint) => [hint.cell, hint]));

function anInput(overrides: Partial<ChooseCellInput> = {}): ChooseCellInput {
  return {
    cells: [aCell(west), aCell(north), aCell(central)],
    shards: [aShard(west), aShard(north), aShard(central)],
    jurisdiction: eu,
    model,
    homeCell: null,
    affinityKey: "tenant|prefix",
    priority: "interactive",
    hints: new Map(),
    ...overrides,
  };
}

const choose = (overrides: Partial<ChooseCellInput> = {}, random = () => 0.5) =>
  chooseCells(anInput(overrides), nowMs, random, defaultChooseCellPolicy);

/** How many of 3,000 keys come to `cell` first. */
function shareOf(cell: CellId, overrides: Partial<ChooseCellInput>): number {
  let won = 0;
  for (let index = 0; index < 3_000; index += 1) {
    const choice = choose({ ...overrides, affinityKey: `key ${index}` });
    if (choice.kind === "ranked" && choice.cells[0] === cell) won += 1 / 3_000;
  }
  return won;
}

describe("chooseCells", () => {
  it("puts the home first and ranks every other cell behind it", ({ expect }) => {
    for (const homeCell of [west, north, central]) {
      const choice = choose({ homeCell });
      if (choice.kind === "none") throw new Error("three cells serve the model");
      expect(choice.reason).toBe("home");
      expect(choice.cells[0]).toBe(homeCell);
      expect(new Set(choice.cells).size).toBe(3);
    }
  });

  it("keeps a home whose hint says that it is dead", ({ expect }) => {
    const hints = hintsOf(aHint(west, { weight: 0, saturation: 9, level: 4, models: [] }));
    expect(choose({ homeCell: west, hints })).toMatchObject({
      reason: "home",
      cells: [west, {}, {}],
    });
  });

  it("leaves a home that was tried or drained, or that no longer serves the model", ({
    expect,
  }) => {
    const excluded = new Set([west]);
    expect(choose({ homeCell: west, excluded })).toMatchObject({
      reason: "rendezvous",
      rejected: [{ id: west, reason: "excluded" }],
    });
    const shards = [aShard(west, "bge-0", "bge"), aShard(north)];
    expect(choose({ homeCell: west, shards })).toMatchObject({
      reason: "rendezvous",
      cells: [north],
      rejected: [
        { id: west, reason: "model" },
        { id: central, reason: "model" },
      ],
    });
  });

  it("gives one key one order", ({ expect }) => {
    expect(choose()).toEqual(choose({ cells: anInput().cells.toReversed() }));
  });

  it("shares keys by capacity for the model", ({ expect }) => {
    const shards = [aShard(west), aShard(west, "llama-1"), aShard(north), aShard(central)];
    expect(shareOf(west, { shards })).toBeCloseTo(0.5, 1.5);
  });

  it("lowers a cell's share by its published health, never below the floor", ({ expect }) => {
    const half = hintsOf(aHint(west, { weight: 0.5 }));
    expect(shareOf(west, { hints: half })).toBeCloseTo(0.5 / 2.5, 1.5);
    const dead = hintsOf(aHint(west, { weight: 0 }));
    expect(shareOf(west, { hints: dead })).toBeCloseTo(0.3 / 2.3, 1.5);
  });

  it("judges a model by its own shards, not by those of another", ({ expect }) => {
    const sickOther = aHint(west, {
      weight: 0.5,
      shards: [aShardHint(`${west}/llama-0`, 1), aShardHint(`${west}/bge-0`, 0)],
    });
    expect(shareOf(west, { hints: hintsOf(sickOther) })).toBeCloseTo(1 / 3, 1.5);
    const leaving = aHint(west, { weight: 0, shards: [aShardHint(`${west}/llama-0`, 1)] });
    expect(shareOf(west, { hints: hintsOf(leaving) })).toBeCloseTo(0.3 / 2.3, 1.5);
  });

  it("shares keys as without hints when all cells are said to be dead", ({ expect }) => {
    const hints = hintsOf(...[west, north, central].map((cell) => aHint(cell, { weight: 0 })));
    expect(choose({ hints })).toEqual(choose());
  });

  it.for<[string, number]>([
    ["older than 120 s", nowMs - 120_000],
    ["from a clock far ahead", nowMs + 31_000],
  ])("ignores a hint %s", ([, atMs], { expect }) => {
    for (let index = 0; index < 200; index += 1) {
      const affinityKey = `key ${index}`;
      const hints = hintsOf(aHint(west, { weight: 0, atMs }));
      expect(choose({ affinityKey, hints })).toEqual(choose({ affinityKey }));
    }
  });

  it("puts cells where nothing of the model runs last, but for a home, and as long as that is news", ({
    expect,
  }) => {
    const isCold = (atMs: number) => ({
      hints: hintsOf(
        ...[west, north].map((cell) =>
          aHint(cell, {
            atMs,
            shards: [{ ...aShardHint(`${cell}/llama-0`, 1), state: "cold" as const }],
          }),
        ),
      ),
    });
    const keys = Array.from({ length: 50 }, (_, index) => `k${index}`);
    const firsts = (changes: Partial<ChooseCellInput>) =>
      new Set(
        keys.map((affinityKey) => {
          const result = choose({ affinityKey, ...changes });
          return result.kind === "ranked" ? result.cells[0] : null;
        }),
      );
    expect(firsts(isCold(nowMs))).toStrictEqual(new Set([central]));
    expect(firsts({ ...isCold(nowMs), homeCell: west })).toStrictEqual(new Set([west]));
    expect(firsts(isCold(nowMs - 120_000)).size).toBe(3);
  });

  it("puts near cells before the others, and does without when none is near", ({ expect }) => {
    for (let index = 0; index < 50; index += 1) {
      const affinityKey = `key ${index}`;
      const near = choose({ affinityKey, near: new Set([north]) });
      expect(near).toMatchObject({ kind: "ranked", cells: [north, {}, {}] });
      expect(choose({ affinityKey, near: new Set() })).toEqual(choose({ affinityKey }));
    }
  });

  it("goes home even when home is far", ({ expect }) => {
    const choice = choose({ homeCell: west, near: new Set([north]) });
    expect(choice).toMatchObject({ cells: [west, north, central] });
  });

  it("draws the order by chance when there is no key to meet by", ({ expect }) => {
    const lots = [0.1, 0.2, 0.9];
    const choice = choose({ affinityKey: "" }, () => lots.shift() ?? 0);
    expect(choice).toMatchObject({ reason: "chance", cells: [central, north, west] });
  });

  it("rejects a cell of another jurisdiction even as the home", ({ expect }) => {
    const us = "us-east-1a" as CellId;
    const cells = [aCell(us, "us" as Jurisdiction), aCell(west)];
    const shards = [aShard(us), aShard(west)];
    expect(choose({ cells, shards, homeCell: us, near: new Set([us]) })).toEqual({
      kind: "ranked",
      reason: "rendezvous",
      cells: [west],
      rejected: [{ id: us, reason: "jurisdiction" }],
    });
    expect(choose({ cells: [aCell(us, "us" as Jurisdiction)], shards })).toEqual({
      kind: "none",
      reason: "noCell",
      rejected: [{ id: us, reason: "jurisdiction" }],
    });
  });

  it("tells whether a cell was left out because it was tried", ({ expect }) => {
    expect(choose({ cells: [] })).toEqual({ kind: "none", reason: "noCell", rejected: [] });
    expect(choose({ model: "other" })).toMatchObject({ kind: "none", reason: "noCell" });
    const excluded = new Set([west, north, central]);
    expect(choose({ excluded })).toMatchObject({ kind: "none", reason: "allExcluded" });
  });
});

/** Hints of a cell with this many of its 64 in flight. */
function carrying(
  cell: CellId,
  inFlight: number,
  overrides: Partial<CellHint> = {},
  queued = 0,
): CellHint {
  const shard = { ...aShardHint(`${cell}/llama-0`, 1), inFlight, queued };
  return aHint(cell, { shards: [shard], ...overrides });
}

/** How often each cell comes first in 2,000 draws of one key. */
function drawn(overrides: Partial<ChooseCellInput>): ReadonlyMap<CellId, number> {
  const random = seededRandom(7);
  const firsts = new Map<CellId, number>();
  for (let draw = 0; draw < 2_000; draw += 1) {
    const choice = choose(overrides, random);
    if (choice.kind === "none") throw new Error(choice.reason);
    expect(choice.cells).toHaveLength(3);
    const [first = west] = choice.cells;
    firsts.set(first, (firsts.get(first) ?? 0) + 1 / 2_000);
  }
  return firsts;
}

describe("chooseCells when the first choice is full", () => {
  const keyOf = (cell: CellId): string => {
    for (let index = 0; ; index += 1) {
      const choice = choose({ affinityKey: `key ${index}` });
      if (choice.kind === "ranked" && choice.cells[0] === cell) return `key ${index}`;
    }
  };
  const affinityKey = keyOf(west);

  it("takes the emptiest while its hint is fresh, and keeps every cell in the list", () => {
    const hints = hintsOf(carrying(west, 63), carrying(north, 40), carrying(central, 10));
    expect(choose({ affinityKey, hints })).toMatchObject({
      reason: "waterFill",
      cells: [central, north, west],
    });
  });

  it("keeps to the key while the first has room, however much emptier another is", () => {
    const hints = hintsOf(carrying(west, 50), carrying(north, 0), carrying(central, 0));
    expect(choose({ affinityKey, hints })).toMatchObject({ reason: "rendezvous" });
  });

  it("spreads by room the older the hints are: nobody is the best of a stale list", () => {
    const at = (ageMs: number): ReadonlyMap<CellId, number> => {
      const atMs = nowMs - ageMs;
      const hints = hintsOf(
        carrying(west, 64, { atMs }),
        carrying(north, 24, { atMs }),
        carrying(central, 8, { atMs }),
      );
      return drawn({ affinityKey, hints });
    };
    expect(at(0).get(central)).toBeCloseTo(1, 9);
    const soon = at(10_000).get(north) ?? 0;
    const late = at(60_000).get(north) ?? 0;
    expect(soon).toBeGreaterThan(0.15);
    expect(late).toBeGreaterThan(soon);
    expect(late).toBeLessThan(0.5);
  });

  it("counts what it sent itself since the hint", () => {
    const hints = hintsOf(carrying(west, 40), carrying(north, 30), carrying(central, 30));
    const sentSince = new Map([[west, 20]]);
    expect(choose({ affinityKey, hints })).toMatchObject({ reason: "rendezvous" });
    expect(choose({ affinityKey, hints, sentSince })).toMatchObject({ reason: "waterFill" });
  });

  it("doubts an older hint more, and none of an idle cell", () => {
    const old = { atMs: nowMs - 64_000 };
    const busy = hintsOf(carrying(west, 40, old));
    expect(choose({ affinityKey, hints: busy })).toMatchObject({ reason: "waterFill" });
    const fresh = hintsOf(carrying(west, 40));
    expect(choose({ affinityKey, hints: fresh })).toMatchObject({ reason: "rendezvous" });
    const idle = hintsOf(carrying(west, 0, old));
    expect(choose({ affinityKey, hints: idle })).toMatchObject({ reason: "rendezvous" });
  });

  it("is full for a class at its ceiling, and at the level from which the cell refuses it", () => {
    const hints = hintsOf(carrying(west, 40));
    const reasonFor = (
      priority: ChooseCellInput["priority"],
      known: ChooseCellInput["hints"],
    ): string => choose({ affinityKey, priority, hints: known }).reason;
    expect(reasonFor("batch", hints)).toBe("waterFill");
    expect(reasonFor("interactive", hints)).toBe("rendezvous");
    const third = hintsOf(carrying(west, 0, { level: 3 }));
    expect(reasonFor("batch", third)).toBe("waterFill");
    expect(reasonFor("standard", third)).toBe("rendezvous");
    const fourth = hintsOf(carrying(west, 0, { level: 4 }));
    expect(reasonFor("interactive", fourth)).toBe("waterFill");
    expect(reasonFor("critical", fourth)).toBe("rendezvous");
  });

  it("shares among all when all are full, and leaves nobody out", () => {
    const hints = hintsOf(...[west, north, central].map((cell) => carrying(cell, 64, {}, 20)));
    for (const share of drawn({ affinityKey, hints }).values()) expect(share).toBeCloseTo(1 / 3, 1);
  });

  it("prefers a near cell with room to an emptier one far away, and that to a full near one", () => {
    const near = new Set([west, north]);
    const some = hintsOf(carrying(west, 64), carrying(north, 40), carrying(central, 0));
    expect(choose({ affinityKey, near, hints: some })).toMatchObject({
      cells: [north, central, west],
    });
    const full = hintsOf(carrying(west, 64), carrying(north, 64), carrying(central, 0));
    expect(choose({ affinityKey, near, hints: full })).toMatchObject({ cells: [central, {}, {}] });
  });

  it("goes home all the same", () => {
    const hints = hintsOf(carrying(west, 64), carrying(north, 0), carrying(central, 0));
    expect(choose({ homeCell: west, hints })).toMatchObject({
      reason: "home",
      cells: [west, {}, {}],
    });
  });
});
