import { describe, it } from "vitest";
import type { Priority, ShardDescription } from "#shared/config/topology.ts";
import { warmQuotas } from "#shared/warming/warm-quota.ts";
import type { QuotaInput } from "#shared/warming/warm-quota.ts";

const dublin = { latitude: 53.35, longitude: -6.26 };
const frankfurt = { latitude: 50.11, longitude: 8.68 };
const sydney = { latitude: -33.87, longitude: 151.21 };
const frugal = { critical: 0, interactive: 0 } as const;

const cells = [
  { id: "d-a", region: "dublin", place: dublin },
  { id: "d-b", region: "dublin", place: dublin },
  { id: "f-a", region: "frankfurt", place: frankfurt },
];

function aShard(id: string, changes: Partial<ShardDescription> = {}): ShardDescription {
  const [cell = ""] = id.split("/");
  const purchase = "on-demand";
  const coldStartSeconds = 20;
  const backend = { kind: "simulated" };
  return { id, cell, purchase, backend, coldStartSeconds, ...changes } as ShardDescription;
}

const everywhere = ["d-a/0", "d-a/1", "d-b/0", "f-a/0"].map((id) => aShard(id));

function quotas(changes: Partial<QuotaInput> = {}): Record<string, string> {
  const contracted = new Set<Priority>(["critical", "interactive"]);
  const shares = warmQuotas({
    cells,
    shards: everywhere,
    warmShardsMin: {},
    contracted,
    ...changes,
  });
  return Object.fromEntries(
    [...shares].map(([cell, { batch, critical, interactive, standard }]) => [
      cell,
      [critical, interactive, standard, batch].join(" "),
    ]),
  );
}

describe("the shares of cells in keeping a model warm", () => {
  it("put two critical shards in two cells where a region has two", ({ expect }) => {
    expect(quotas()).toStrictEqual({ "d-a": "1 1 0 0", "d-b": "1 0 0 0", "f-a": "1 1 0 0" });
  });

  it("are what the model asks for, as far as there are shards", ({ expect }) => {
    expect(quotas({ warmShardsMin: { critical: 3, interactive: 9 } })).toStrictEqual({
      "d-a": "2 2 0 0",
      "d-b": "1 1 0 0",
      "f-a": "1 1 0 0",
    });
  });

  it("count no spot shard for critical and interactive prompts", ({ expect }) => {
    const shards = [aShard("d-a/0", { purchase: "spot" }), aShard("d-b/0")];
    expect(quotas({ shards })).toStrictEqual({ "d-a": "0 0 0 0", "d-b": "1 1 0 0" });
  });

  it("are nothing for classes without a tenant, and nothing at all without tenants", ({
    expect,
  }) => {
    expect(quotas({ contracted: new Set(["interactive"]) })).toStrictEqual({
      "d-a": "0 1 0 0",
      "d-b": "0 0 0 0",
      "f-a": "0 1 0 0",
    });
    expect(quotas({ contracted: new Set() })).toStrictEqual({});
  });

  it("let a region scale to zero where a near one keeps a shard", ({ expect }) => {
    expect(quotas({ warmShardsMin: frugal })).toStrictEqual({ "d-a": "0 0 1 0", "d-b": "0 0 0 0" });
  });

  it("let none scale to zero that has no near neighbour", ({ expect }) => {
    const far = cells.map((cell) => (cell.id === "f-a" ? { ...cell, place: sydney } : cell));
    expect(quotas({ cells: far, warmShardsMin: frugal })).toMatchObject({ "f-a": "0 0 1 0" });
    const alone = everywhere.filter(({ cell }) => cell === "f-a");
    expect(quotas({ shards: alone, warmShardsMin: frugal })).toStrictEqual({ "f-a": "0 0 1 0" });
  });

  it("let none scale to zero whose start takes too long", ({ expect }) => {
    const shards = everywhere.map((shard) => ({ ...shard, coldStartSeconds: 75 }));
    expect(quotas({ shards, warmShardsMin: frugal })).toMatchObject({ "f-a": "0 0 1 0" });
  });
});
