import { describe, expect, it } from "vitest";
import { aFile, problemsOf, topologyOf } from "#test/support/topology-builders.ts";

/** A file with the tenant's wish and its jurisdiction's bounds. */
function fileWith(wish: number | null, bounds: object): Record<string, unknown> {
  const file = aFile() as {
    jurisdictions: Record<string, object>;
    tenants: Record<string, object>;
  };
  Object.assign(file.jurisdictions["eu"] ?? {}, bounds);
  if (wish !== null) Object.assign(file.tenants["acme"] ?? {}, { streamsKeptSeconds: wish });
  return file;
}

function keptMs(wish: number | null, bounds: object): number {
  const { tenants } = topologyOf(fileWith(wish, bounds));
  return [...tenants.values()].find(({ id }) => id === "acme")?.streamsKeptMs ?? 0;
}

describe("how long streams are kept", () => {
  it.each([
    ["a day unless the topology says otherwise", null, {}, 86_400_000],
    ["what the tenant asks for", 600, {}, 600_000],
    ["at least the jurisdiction's floor", null, { streamsKeptSecondsMin: 172_800 }, 172_800_000],
    ["at most the jurisdiction's ceiling", null, { streamsKeptSecondsMax: 3_600 }, 3_600_000],
  ])("is %s", (_name, wish, bounds, wanted) => {
    expect(keptMs(wish, bounds)).toBe(wanted);
  });

  it.each([
    ["below the floor", 60, { streamsKeptSecondsMin: 61 }],
    ["above the ceiling", 62, { streamsKeptSecondsMax: 61 }],
  ])("is refused %s, not cut to it", (_name, wish, bounds) => {
    expect(problemsOf(fileWith(wish, bounds))).toEqual([
      expect.objectContaining({ path: "tenants.acme.streamsKeptSeconds", got: String(wish) }),
    ]);
  });

  it("is refused where the bounds leave nothing", () => {
    const bounds = { streamsKeptSecondsMin: 100, streamsKeptSecondsMax: 99 };
    expect(problemsOf(fileWith(null, bounds))).toEqual([
      expect.objectContaining({ path: "jurisdictions.eu.streamsKeptSecondsMin", got: "100" }),
    ]);
  });

  it.each([0, 59, 1.5, 2_592_001])("is never %s seconds", (wish) => {
    expect(problemsOf(fileWith(wish, {}))).toHaveLength(1);
  });
});
