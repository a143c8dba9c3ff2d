import { describe, expect, it } from "vitest";
import { classifyPlatformFailure, isRepeatable } from "#shared/errors/platform-failure.ts";
import type { PlatformFailure } from "#shared/errors/platform-failure.ts";

const verbatim: readonly (readonly [string, PlatformFailure])[] = [
  ["Durable Object reset because its code was updated.", "superseded"],
  [
    "The Durable Object's code has been updated, this version can no longer access storage.",
    "superseded",
  ],
  ["Network connection lost.", "connectionLost"],
  [
    "Durable Object storage operation exceeded timeout which caused object to be reset.",
    "storageReset",
  ],
  ["Internal error in Durable Object storage write caused object to be reset.", "storageReset"],
  ["Durable Object's isolate exceeded its memory limit and was reset.", "memoryLimit"],
  ["Durable Object exceeded its CPU time limit and was reset.", "memoryLimit"],
  ["Durable Object is overloaded. Requests queued for too long.", "overloaded"],
  ["Durable Object is overloaded. Too many requests queued.", "overloaded"],
  [
    "Durable Object is overloaded. Too many requests for the same object within a 10 second window.",
    "overloaded",
  ],
  ["Cannot resolve Durable Object due to transient issue on remote node.", "retryable"],
  ["internal error; reference = 0123456789", "unknown"],
];

describe("classifyPlatformFailure", () => {
  it.each(verbatim)("reads %j as %s", (message, failure) => {
    expect(classifyPlatformFailure(new Error(message))).toBe(failure);
  });

  it("believes the platform's own marks", () => {
    expect(classifyPlatformFailure(Object.assign(new Error("x"), { retryable: true }))).toBe(
      "retryable",
    );
  });

  it("never calls an overloaded object retryable", () => {
    const error = Object.assign(new Error("Network connection lost."), {
      retryable: true,
      overloaded: true,
    });
    expect(classifyPlatformFailure(error)).toBe("overloaded");
    expect(isRepeatable(classifyPlatformFailure(error))).toBe(false);
  });

  it("looks through the causes", () => {
    const cause = new Error("Network connection lost.");
    expect(classifyPlatformFailure(new Error("call failed", { cause }))).toBe("connectionLost");
  });

  it("ends on a cyclic cause", () => {
    const error: Error & { cause?: unknown } = new Error("round");
    error.cause = error;
    expect(classifyPlatformFailure(error)).toBe("unknown");
  });

  it.each([undefined, null, "Network connection lost.", 7])("knows nothing of %j", (thrown) => {
    expect(classifyPlatformFailure(thrown)).toBe("unknown");
  });
});
