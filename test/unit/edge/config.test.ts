import { describe, expect, it } from "vitest";
import { parseEdgeConfig } from "#edge/config.ts";
import { edgeBindings, testTopology } from "#test/support/edge-bindings.ts";

const compiled = "// a comment\n{ not even JSON";

function problemsOf(over: Readonly<Record<string, unknown>>) {
  const result = parseEdgeConfig({ ...edgeBindings, ...over }, compiled);
  return result.ok ? [] : result.problems;
}

/** The test topology with a hostname of the real world. */
const deployed = JSON.stringify({
  ...testTopology,
  jurisdictions: {
    ...testTopology.jurisdictions,
    eu: { ...testTopology.jurisdictions.eu, hostnames: ["eu.api.example.com"] },
  },
});

describe("parseEdgeConfig", () => {
  it("takes the topology of the binding instead of the compiled one", () => {
    const result = parseEdgeConfig(edgeBindings, compiled);
    expect(result.ok && result.config.topology.cells.size).toBe(3);
  });

  it("reads the compiled topology with comments and trailing commas", () => {
    const { TOPOLOGY: _, ...rest } = edgeBindings;
    const text = `/* x */ ${JSON.stringify(testTopology).slice(0, -1)}, } // end`;
    expect(parseEdgeConfig(rest, text).ok).toBe(true);
  });

  it("is production unless it is told otherwise", () => {
    const { ENVIRONMENT: _, ...rest } = edgeBindings;
    const result = parseEdgeConfig(rest, compiled);
    expect(result.ok && result.config.environment).toBe("production");
  });

  it.each([
    ["IDENTIFIER_KEY", undefined],
    ["IDENTIFIER_KEY", "11".repeat(31)],
    ["DO_JURISDICTION", "perhaps"],
    ["DO_JURISDICTION", undefined],
    ["ENVIRONMENT", "staging"],
    ["CELL_SIGNING_KEYS", "{"],
    ["CELL_SIGNING_KEYS", '{"current":"k2","keys":{"k1":"' + "22".repeat(32) + '"}}'],
    ["RECEIPT_SIGNING_KEY", '{"kty":"RSA"}'],
    ["HEALTH_KV_URL", "redis://x"],
    ["ACME_KEY_SHA256", undefined],
    ["ADMIN_KEY_SHA256", "short"],
    ["TOPOLOGY", "{ not JSON"],
  ])("refuses %s = %j and names it", (name, value) => {
    const [problem] = problemsOf({ [name]: value });
    expect(problem?.path.split(".")[0]).toBe(name);
  });

  it("refuses three signing keys", () => {
    const key = "22".repeat(32);
    const keys = { current: "a", keys: { a: key, b: key, c: key } };
    expect(problemsOf({ CELL_SIGNING_KEYS: JSON.stringify(keys) })).toHaveLength(1);
  });

  it("never repeats a value, which may be a secret", () => {
    const secret = "s3cr3t-".repeat(9);
    const problems = problemsOf({ IDENTIFIER_KEY: secret, ACME_KEY_SHA256: secret });
    expect(problems.length).toBeGreaterThan(0);
    expect(JSON.stringify(problems)).not.toContain("s3cr3t");
  });

  it("refuses emulated jurisdictions where a hostname is not of this machine", () => {
    const problems = problemsOf({ TOPOLOGY: deployed, ENVIRONMENT: "production" });
    expect(problems.map(({ path, got }) => [path, got])).toEqual([["DO_JURISDICTION", "emulate"]]);
  });

  it("refuses development settings where a hostname is not of this machine", () => {
    const problems = problemsOf({ TOPOLOGY: deployed, DO_JURISDICTION: "enforce" });
    expect(problems.map(({ path }) => path)).toEqual(["ENVIRONMENT"]);
  });

  it("accepts a deployment that enforces", () => {
    expect(
      problemsOf({ TOPOLOGY: deployed, DO_JURISDICTION: "enforce", ENVIRONMENT: "production" }),
    ).toEqual([]);
  });

  it("asks for a price where a tenant has a budget", () => {
    const models = { ...testTopology.models, "sim/llama": { ...testTopology.models["sim/llama"] } };
    const { priceMicroUsdPerMillionTokens: _, ...unpriced } = models["sim/llama"];
    const topology = { ...testTopology, models: { ...models, "sim/llama": unpriced } };
    const [problem] = problemsOf({ TOPOLOGY: JSON.stringify(topology) });
    expect(problem?.path).toBe("models.sim/llama.priceMicroUsdPerMillionTokens");
  });
});
