import { describe, it } from "vitest";
import { classifyRefusal, namesOwnField } from "#regional/backends/refusal.ts";

describe("a shard's refusal", () => {
  for (const text of [
    "This model's maximum context length is 4096 tokens. However, you requested 5000",
    '{"error":{"code":"context_length_exceeded"}}',
    "the request exceeds the available context size",
    "Input length 9000 exceeds the model's context length",
  ]) {
    it(`is context_length_exceeded: ${text.slice(0, 40)}`, ({ expect }) => {
      expect(classifyRefusal(400, undefined, text)).toMatchObject({
        fault: { code: "context_length_exceeded" },
      });
    });
  }

  it("names a parameter only when it can be nothing else", ({ expect }) => {
    const withParam = (param: unknown) =>
      classifyRefusal(400, undefined, JSON.stringify({ error: { param } }));
    expect(withParam("messages[0].content")).toMatchObject({
      fault: { param: "messages[0].content" },
    });
    for (const param of ["my secret prompt", "", 7, null, "a".repeat(100), "x\ny"]) {
      expect(withParam(param)).toEqual({
        reason: "clientFault",
        status: 400,
        fault: { code: "invalid_request" },
      });
    }
  });

  it("believes whole seconds of Retry-After, at most 60", ({ expect }) => {
    expect(classifyRefusal(429, "3", "")).toMatchObject({ retryAfterMs: 3_000 });
    expect(classifyRefusal(429, "3600", "")).toMatchObject({ retryAfterMs: 60_000 });
    for (const value of [undefined, "-1", "soon", "Fri, 31 Dec 1999 23:59:59 GMT", "1e9"]) {
      expect(classifyRefusal(429, value, "")).toEqual({ reason: "saturated", status: 429 });
    }
  });

  it("is ours to repair for any other status below 500, and the shard's failure above", ({
    expect,
  }) => {
    for (const status of [204, 301, 401, 403, 404, 405, 409, 418]) {
      expect(classifyRefusal(status, undefined, "")).toEqual({
        reason: "unexpectedStatus",
        status,
      });
    }
    for (const status of [500, 502, 503, 599]) {
      expect(classifyRefusal(status, undefined, "")).toEqual({ reason: "serverError", status });
    }
  });

  it("names a field of the gateway's, or does not", ({ expect }) => {
    for (const text of [
      "[{'type': 'extra_forbidden', 'loc': ('body', 'cache_salt')}]",
      '{"error":{"param":"stream_options"}}',
      "return_token_ids: Extra inputs are not permitted",
    ])
      expect(namesOwnField(text)).toBe(true);
    for (const text of ["", "temperature must be positive", "cache_salted", "prioritys"])
      expect(namesOwnField(text)).toBe(false);
  });
});
