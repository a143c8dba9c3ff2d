import { describe, it } from "vitest";
import { policyVersionOf } from "#shared/telemetry/policy-version.ts";

describe("the version of policies", () => {
  it("is the same for the same numbers, and another one for each change", ({ expect }) => {
    const version = policyVersionOf([{ a: 1, b: { c: Infinity } }]);
    expect(version).toMatch(/^[0-9a-f]{16}$/);
    expect(policyVersionOf([{ a: 1, b: { c: Infinity } }])).toBe(version);
    const others = [
      [{ a: 2, b: { c: Infinity } }],
      [{ a: 1, b: { c: null } }],
      [{ a: 1, b: { c: Infinity } }, {}],
      [],
    ];
    for (const other of others) expect(policyVersionOf(other)).not.toBe(version);
  });
});
