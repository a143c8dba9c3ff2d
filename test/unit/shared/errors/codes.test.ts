import { describe, expect, it } from "vitest";
import { errorCodes, isErrorCode } from "#shared/errors/codes.ts";
import type { ErrorCode, ErrorSpecification } from "#shared/errors/codes.ts";

const entries = Object.entries(errorCodes) as [ErrorCode, ErrorSpecification][];

describe.each(entries)("%s", (code, { status, type, shouldRetry, countsAgainstShard }) => {
  it("is a code of lower-case words", () => {
    expect(code).toMatch(/^[a-z]+(?:_[a-z]+)*$/);
    expect(isErrorCode(code)).toBe(true);
  });

  it("has a status that openai-node does not repeat on its own accord", () => {
    // CONVENTIONS.md: never 408, which openai-node repeats. 200 is for events inside a stream.
    expect(status === 200 || (status >= 400 && status <= 504)).toBe(true);
    expect(status).not.toBe(408);
  });

  it("has the type that its status stands for", () => {
    const types: Readonly<Record<number, readonly string[]>> = {
      401: ["authentication_error"],
      403: ["permission_error"],
      421: ["permission_error"],
      429: ["rate_limit_error", "insufficient_quota"],
    };
    const isOurs = status === 200 || status === 499 || status >= 500;
    const wanted = types[status] ?? [isOurs ? "api_error" : "invalid_request_error"];
    expect(wanted).toContain(type);
  });

  it("advises a repeat only where waiting can help", () => {
    expect(!shouldRetry || status === 429 || status === 503).toBe(true);
  });

  it("blames a shard only for what a shard can cause", () => {
    expect(countsAgainstShard).toBe(code === "upstream_invalid" || code === "interrupted");
  });
});

describe("isErrorCode", () => {
  it.each(["", "constructor", "__proto__", "toString", "INTERNAL_ERROR", null, 5, {}, undefined])(
    "refuses %j",
    (value) => {
      expect(isErrorCode(value)).toBe(false);
    },
  );
});
