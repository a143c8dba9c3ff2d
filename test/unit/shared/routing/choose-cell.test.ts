import { describe, it } from "vitest";
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
