import { describe, expect, it } from "vitest";
import { errorCodes } from "#shared/errors/codes.ts";
import type { ErrorCode } from "#shared/errors/codes.ts";
import {
  errorBody,
  errorResponseParts,
  GatewayError,
  retryAfterMsMax,
} from "#shared/errors/gateway-error.ts";
import { invariant, InvariantError } from "#shared/errors/invariant.ts";

const codes = Object.keys(errorCodes) as ErrorCode[];

describe("errorResponseParts", () => {
  it.each(codes)("answers %s as its specification says", (code) => {
    const { status, headers, body } = errorResponseParts({ code, message: "what happened" });
    expect(status).toBe(errorCodes[code].status);
    expect(headers).toEqual({
      "content-type": "application/json",
      "x-should-retry": String(errorCodes[code].shouldRetry),
    });
    expect(body).toEqual({
      error: { message: "what happened", type: errorCodes[code].type, param: null, code },
    });
  });

  it.each([
    [0, "0", "0"],
    [1, "1", "1"],
    [999.2, "1000", "1"],
    [1001, "1001", "2"],
    [retryAfterMsMax, "60000", "60"],
    [retryAfterMsMax + 1, "60000", "60"],
    [Number.POSITIVE_INFINITY, "60000", "60"],
    [-5, "0", "0"],
  ])("promises a wait of %d ms as %s ms and %s s", (retryAfterMs, ms, seconds) => {
    const { headers } = errorResponseParts({ code: "saturated", message: "full", retryAfterMs });
    expect([headers["retry-after-ms"], headers["retry-after"]]).toEqual([ms, seconds]);
  });

  it("lets a shortage that is known to last advise against a repeat", () => {
    const code = "no_capacity_in_jurisdiction";
    const { headers } = errorResponseParts({ code, message: "none", shouldRetry: false });
    expect(headers["x-should-retry"]).toBe("false");
  });

  it("names the parameter", () => {
    const outcome = { code: "invalid_request", message: "x", param: "messages[0]" } as const;
    expect(errorBody(outcome).error.param).toBe("messages[0]");
  });
});

describe("GatewayError", () => {
  it("keeps its cause and never puts it into what is shown", () => {
    const cause = new Error("secret upstream text");
    const error = new GatewayError("upstream_invalid", "The model's answer was not usable.", {
      cause,
    });
    expect([error.name, error.message, error.cause]).toEqual([
      "GatewayError",
      "The model's answer was not usable.",
      cause,
    ]);
    const body = errorBody({ code: error.code, message: error.publicMessage });
    expect(JSON.stringify(body)).not.toContain("secret");
  });

  it("has no cause when none is given", () => {
    expect(Object.hasOwn(new GatewayError("not_found", "None."), "cause")).toBe(false);
  });
});

describe("invariant", () => {
  it("throws what it assumed, and nothing when that holds", () => {
    expect(() => invariant(true, "holds")).not.toThrow();
    for (const broken of [false, 0, "", null, undefined])
      expect(() => invariant(broken, "the queue is not empty")).toThrow(
        new InvariantError("the queue is not empty"),
      );
  });
});
