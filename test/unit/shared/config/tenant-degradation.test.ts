import { describe, it } from "vitest";
import { parseTopology } from "#shared/config/topology.ts";
import { aFile } from "#test/support/topology-builders.ts";

/** The file with another model, and `degradation` for the tenant acme. */
function withDegradation(degradation: unknown): unknown {
  const file = structuredClone(aFile()) as {
    models: Record<string, unknown>;
    tenants: Record<string, Record<string, unknown>>;
  };
  file.models["sim/tiny"] = {
    revision: "r3",
    contextTokensMax: 8_192,
    capabilities: ["chat", "tools"],
    priceMicroUsdPerMillionTokens: { input: 1, output: 1 },
  };
  const { acme } = file.tenants;
  return { ...file, tenants: { ...file.tenants, acme: { ...acme, degradation } } };
}

describe("what a tenant allows at a degradation level", () => {
  it("is nothing unless it is written out", ({ expect }) => {
    const result = parseTopology(aFile());
    const tenants = result.ok ? [...result.topology.tenants.values()] : [];
    expect(tenants.length).toBeGreaterThan(0);
    for (const { degradation } of tenants) {
      expect(degradation).toEqual({ smallerModels: new Map(), historyCut: false });
    }
  });

  it("names a smaller model per model", ({ expect }) => {
    const degradation = { smallerModels: { "sim/llama": "sim/tiny" }, historyCut: true };
    const result = parseTopology(withDegradation(degradation));
    const acme = result.ok ? [...result.topology.tenants.values()][0] : undefined;
    expect(acme?.degradation).toEqual({
      smallerModels: new Map([["sim/llama", "sim/tiny"]]),
      historyCut: true,
    });
  });

  const path = "tenants.acme.degradation.smallerModels";
  const wrong: readonly (readonly [string, Record<string, string>, string, string])[] = [
    ["is none of this file", { "sim/llama": "gone" }, `${path}.sim/llama`, "a model of this file"],
    ["replaces none of this file", { gone: "sim/tiny" }, `${path}.gone`, "a model of this file"],
    ["is the model itself", { "sim/llama": "sim/llama" }, `${path}.sim/llama`, "another model"],
    [
      "cannot do what the larger one can",
      { "sim/llama": "sim/bge" },
      `${path}.sim/llama`,
      "a model with the capability chat",
    ],
  ];
  for (const [name, smallerModels, at, wanted] of wrong) {
    it(`is refused where the smaller model ${name}`, ({ expect }) => {
      const result = parseTopology(withDegradation({ smallerModels }));
      expect(result.ok ? [] : result.problems).toMatchObject([{ path: at, wanted }]);
    });
  }

  it("is refused with a key that means nothing", ({ expect }) => {
    expect(parseTopology(withDegradation({ historyCuts: true })).ok).toBe(false);
  });
});
