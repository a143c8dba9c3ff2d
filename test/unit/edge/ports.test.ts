import { expect, it } from "vitest";
import { ObjectUnavailableError } from "#edge/ports.ts";

it.each([
  "connectionLost",
  "superseded",
  "storageReset",
  "memoryLimit",
  "retryable",
  "unknown",
] as const)("takes an object's call that ended as %s for one that may have run", (failure) => {
  expect(new ObjectUnavailableError(failure, null).mayHaveRun).toBe(true);
});

it("takes a call that was refused for load for one that has not run", () => {
  expect(new ObjectUnavailableError("overloaded", null).mayHaveRun).toBe(false);
});
