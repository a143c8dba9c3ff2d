import { describe, it } from "vitest";
import { jsonDepthMax, jsonKeysMax } from "#shared/protocol/openai/json-scan.ts";
import { parseJsonBody, unknownQueryParameter } from "#shared/protocol/openai/parse-json-body.ts";

const nested = (depth: number): string => `{"a":${"[".repeat(depth - 1)}${"]".repeat(depth - 1)}}`;
const wide = (keys: number): string =>
  `{${Array.from({ length: keys }, (_, index) => `"k${index}":0`).join(",")}}`;

describe("a body that is refused", () => {
  const cases: readonly (readonly [
    name: string,
    text: string,
    code: string,
    param: string | undefined,
    message: RegExp,
  ])[] = [
    ["empty", "", "invalid_request", undefined, /empty/],
    ["only space", " \n", "invalid_request", undefined, /ends too early, at line 2, column 1/],
    ["HTML", "<html>", "invalid_request", undefined, /line 1, column 1/],
    ["an array", "[]", "invalid_request", undefined, /must be a JSON object.*an empty array/],
    ["a string", '"x"', "invalid_request", undefined, /a string/],
    ["null", "null", "invalid_request", undefined, /null/],
    ["cut off", '{"a": {"b": [1', "invalid_request", "a.b[0]", /ends too early/],
    ["cut off inside a string", '{"a": "x', "invalid_request", "a", /ends too early/],
    ["a trailing comma", '{"a":1,}', "invalid_request", undefined, /line 1, column 8/],
    ["a trailing comma in an array", '{"a":[1,]}', "invalid_request", "a[1]", /column 9/],
    ["text after the end", "{} {}", "invalid_request", undefined, /column 4/],
    ["a single quote", "{'a':1}", "invalid_request", undefined, /column 2/],
    ["a missing colon", '{"a" 1}', "invalid_request", "a", /column 6/],
    ["a missing value", '{"a":}', "invalid_request", "a", /column 6/],
    ["a closing bracket of the other kind", '{"a":[1}', "invalid_request", "a[0]", /column 8/],
    ["a raw line feed in a string", '{"a":"\n"}', "invalid_request", "a", /unexpected/],
    ["an unknown escape", '{"a":"\\x41"}', "invalid_request", "a", /unexpected/],
    ["a short unicode escape", '{"a":"\\u12"}', "invalid_request", "a", /unexpected/],
    ["a leading zero", '{"n":01}', "invalid_request", "n", /unexpected/],
    ["a plus sign", '{"n":+1}', "invalid_request", "n", /unexpected/],
    ["a bare fraction", '{"n":.5}', "invalid_request", "n", /unexpected/],
    ["a fraction without digits", '{"n":1.}', "invalid_request", "n", /unexpected/],
    ["an exponent without digits", '{"n":1e}', "invalid_request", "n", /unexpected/],
    ["NaN", '{"n":NaN}', "invalid_request", "n", /unexpected/],
    ["Infinity", '{"n":-Infinity}', "invalid_request", "n", /unexpected/],
    ["1e999", '{"n":1e999}', "invalid_request", "n", /beyond the range/],
    ["-1e999 deep inside", '{"a":[0,{"b":-1e999}]}', "invalid_request", "a[1].b", /beyond/],
    ["400 digits", `{"n":${"9".repeat(400)}}`, "invalid_request", "n", /beyond the range/],
    ["an escaped NUL", '{"a":"x\\u0000"}', "invalid_request", "a", /NUL/],
    ["a raw NUL", '{"a":"x\u0000"}', "invalid_request", "a", /NUL/],
    ["a NUL between values", '{"a":\u0000}', "invalid_request", "a", /NUL/],
    ["a NUL in a key", '{"a\\u0000b":1}', "invalid_request", undefined, /NUL/],
    ["an escaped high surrogate", '{"a":"\\ud800"}', "invalid_request", "a", /surrogate/],
    ["an escaped low surrogate", '{"a":"\\udc00"}', "invalid_request", "a", /surrogate/],
    ["a raw high surrogate", '{"a":"\ud800x"}', "invalid_request", "a", /surrogate/],
    ["a raw low surrogate", '{"a":"x\udfff"}', "invalid_request", "a", /surrogate/],
    ["two high surrogates", '{"a":"\\ud83d\\ud83d"}', "invalid_request", "a", /surrogate/],
    ["a surrogate in a key", '{"\\ud800":1}', "invalid_request", undefined, /surrogate/],
    ["a duplicate key", '{"model":"a","model":"b"}', "invalid_request", "model", /twice/],
    ["a duplicate key by escape", '{"a":1,"\\u0061":2}', "invalid_request", "a", /twice/],
    ["a nested duplicate", '{"m":[{"x":1,"x":1}]}', "invalid_request", "m[0].x", /twice/],
    ["__proto__", '{"__proto__":{"a":1}}', "invalid_request", "__proto__", /not allowed/],
    [
      "__proto__ by escape",
      '{"a":{"\\u005f_proto__":1}}',
      "invalid_request",
      "a.__proto__",
      /not allowed/,
    ],
    [
      "constructor.prototype",
      '{"constructor":{"prototype":{}}}',
      "invalid_request",
      "constructor.prototype",
      /not allowed/,
    ],
    ["one level too deep", nested(jsonDepthMax + 1), "body_too_large", undefined, /64 levels/],
    ["5,000 levels deep", nested(5000), "body_too_large", undefined, /64 levels/],
    ["one key too many", wide(jsonKeysMax + 1), "body_too_large", undefined, /10000 keys/],
  ];

  it.for(cases)("%s", ([, text, code, param, message], { expect }) => {
    const result = parseJsonBody(text);
    expect(result).toMatchObject({ ok: false, error: { code } });
    if (result.ok) return;
    expect(result.error.message).toMatch(message);
    if (param !== undefined) expect(result.error.param).toBe(param);
  });

  it("never repeats what it holds", ({ expect }) => {
    const secret = "CANARY with spaces";
    for (const text of [
      `{"${secret}":1,"${secret}":2}`,
      `{"a":"${secret}\\ud800"}`,
      `{"a":"${secret}" "${secret}"}`,
      `{"${secret}":{"b":1e999}}`,
    ]) {
      expect(JSON.stringify(parseJsonBody(text))).not.toContain("CANARY");
    }
  });
});

describe("a body that is read", () => {
  it.for([
    ["the empty object", "{}"],
    ["every kind of value", '{"a":[1,-2.5e-3,0,true,false,null,"x",{}, []]}'],
    ["space everywhere", ' {\t"a"\r\n: [ 1 , 2 ] } \n'],
    ["a surrogate pair, escaped and raw", '{"a":"\\ud83d\\ude00 😀"}'],
    ["a pair of which one half is escaped", '{"a":"\\ud83d\ude00"}'],
    ["the same key in two objects", '{"a":{"x":1},"b":{"x":1}}'],
    ["all escapes", '{"a":"\\"\\\\\\/\\b\\f\\n\\r\\t\\u0001"}'],
    ["a schema with a property called constructor", '{"constructor":{"type":"string"}}'],
    ["the deepest allowed", nested(jsonDepthMax)],
    ["the widest allowed", wide(jsonKeysMax)],
    ["a number that underflows", '{"n":1e-999}'],
    ["a key called toString", '{"toString":1,"hasOwnProperty":2}'],
  ] as const)("%s", ([, text], { expect }) => {
    expect(parseJsonBody(text)).toEqual({ ok: true, value: JSON.parse(text) });
  });
});

describe("unknown query parameters", () => {
  it("names the first one that is not allowed", ({ expect }) => {
    expect(unknownQueryParameter(["limit", "colour"], ["limit"])).toMatchObject({
      code: "invalid_request",
      param: "colour",
    });
  });

  it("does not repeat a name that is no plain name", ({ expect }) => {
    expect(unknownQueryParameter(["<b>"], [])?.message).not.toContain("<b>");
  });

  it("allows what is known", ({ expect }) => {
    expect(unknownQueryParameter(["limit"], ["limit"])).toBeNull();
    expect(unknownQueryParameter([], [])).toBeNull();
  });
});
