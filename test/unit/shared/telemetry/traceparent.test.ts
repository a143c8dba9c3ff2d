import { describe, it } from "vitest";
import { continueTrace, traceIdOf } from "#shared/telemetry/traceparent.ts";

const trace = "a".repeat(32);
const span = "b".repeat(16);

describe("a traceparent", () => {
  it("keeps the trace and replaces the parent", ({ expect }) => {
    const next = continueTrace(`00-${trace}-${span}-00`, "f".repeat(32), "c".repeat(16));
    expect(next).toBe(`00-${trace}-${"c".repeat(16)}-01`);
  });

  for (const bad of [
    "",
    `01-${trace}-${span}-01`,
    `00-${"0".repeat(32)}-${span}-01`,
    `00-${trace}-${"0".repeat(16)}-01`,
    `00-${trace.toUpperCase()}-${span}-01`,
    `00-${trace}-${span}-01-x`,
  ]) {
    it(`begins a new trace instead of passing on what is none: ${JSON.stringify(bad)}`, ({
      expect,
    }) => {
      expect(traceIdOf(bad)).toBeNull();
      expect(continueTrace(bad, "f".repeat(32), span)).toBe(`00-${"f".repeat(32)}-${span}-01`);
    });
  }
});
