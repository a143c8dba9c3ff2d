import { describe, expect, it } from "vitest";
import { jurisdictionNamespace } from "#edge/adapters/jurisdiction-namespace.ts";

interface FakeNamespace {
  readonly pin: string | null;
  jurisdiction(pin: string): FakeNamespace;
}

function aNamespace(pin: string | null = null): FakeNamespace {
  return { pin, jurisdiction: aNamespace };
}

describe("jurisdictionNamespace", () => {
  it.each(["eu", "us", "fedramp"] as const)("pins objects to %s when enforced", (pin) => {
    expect(jurisdictionNamespace(aNamespace(), pin, "enforce").pin).toBe(pin);
  });

  it("leaves objects where the topology says unpinned", () => {
    expect(jurisdictionNamespace(aNamespace(), "unpinned", "enforce").pin).toBeNull();
  });

  it("asks for no jurisdiction when emulating, which local workerd would refuse", () => {
    expect(jurisdictionNamespace(aNamespace(), "eu", "emulate").pin).toBeNull();
  });

  it("never falls back when the platform refuses", () => {
    const refusing: FakeNamespace = {
      pin: null,
      jurisdiction: () => {
        throw new Error("Jurisdiction restrictions are not implemented in workerd.");
      },
    };
    expect(() => jurisdictionNamespace(refusing, "eu", "enforce")).toThrow("not implemented");
  });
});
