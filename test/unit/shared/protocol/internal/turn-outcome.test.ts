import { describe, expect, it } from "vitest";
import { parseTurnOutcome } from "#shared/protocol/internal/turn-outcome.ts";

const whole = {
  v: 1,
  turnId: "turn_1",
  attempt: 1,
  status: "completed",
  error: null,
  mayMove: false,
  continuations: 0,
  cell: "eu-west-1a",
  region: "eu-west-1",
  shard: "eu-west-1a/llama-0",
  rejected: [{ id: "eu-west-1a/llama-1", reason: "draining" }],
  usage: { promptTokens: 1, completionTokens: 2, cachedTokens: 0, reasoningTokens: 0 },
  finishReasons: ["stop"],
  items: [{ id: "msg_1", type: "message", json: "{}" }],
  body: null,
  queueWaitMs: 0.5,
  ttftMs: null,
  totalMs: 12,
};
const failed = {
  ...whole,
  status: "failed",
  model: "sim/small",
  spill: "once",
  error: { code: "saturated", message: "Full.", param: "model", retryAfterMs: 1 },
  shard: null,
  body: "{}",
  ttftMs: 3,
};

function parse(value: unknown) {
  return parseTurnOutcome(JSON.stringify(value));
}

describe("parseTurnOutcome", () => {
  it("reads a whole outcome as it is", () => {
    expect(parse(whole)).toEqual(whole);
    expect(parse(failed)).toEqual(failed);
  });

  it("drops fields that an outcome has not, at every depth", () => {
    const extra = {
      ...failed,
      other: 1,
      error: { ...failed.error, other: 1 },
      usage: { ...whole.usage, other: 1 },
      rejected: [{ id: "a", reason: "b", other: 1 }],
      items: [{ id: "a", type: "b", json: "c", other: 1 }],
    };
    expect(parse(extra)).toEqual({
      ...failed,
      rejected: [{ id: "a", reason: "b" }],
      items: [{ id: "a", type: "b", json: "c" }],
    });
  });

  it("refuses an outcome without any one of its fields", () => {
    for (const name of Object.keys(whole)) {
      expect(parse({ ...whole, [name]: undefined })).toBeNull();
    }
    for (const name of Object.keys(whole.usage)) {
      expect(parse({ ...whole, usage: { ...whole.usage, [name]: undefined } })).toBeNull();
    }
  });

  it.each<[string, unknown]>([
    ["v", 2],
    ["turnId", ""],
    ["turnId", "x".repeat(201)],
    ["attempt", 0],
    ["attempt", 1.5],
    ["status", "running"],
    ["error", {}],
    ["error", { code: "no_such_code", message: "" }],
    ["error", { code: "saturated", message: 1 }],
    ["error", { code: "saturated", message: "", param: 1 }],
    ["error", { code: "saturated", message: "", retryAfterMs: "1" }],
    ["error", []],
    ["mayMove", "no"],
    ["continuations", -1],
    ["cell", null],
    ["region", 1],
    ["shard", ""],
    ["rejected", {}],
    ["rejected", [null]],
    ["rejected", [{ id: "a" }]],
    ["rejected", [{ id: "a", reason: "x".repeat(65) }]],
    ["rejected", Array.from({ length: 1025 }, () => whole.rejected[0])],
    ["usage", []],
    ["usage", { ...whole.usage, cachedTokens: -1 }],
    ["usage", { ...whole.usage, cachedTokens: 2 ** 53 }],
    ["finishReasons", [1]],
    ["finishReasons", Array.from({ length: 129 }, () => "stop")],
    ["items", [{ id: "a", type: "b" }]],
    ["items", [{ id: "", type: "b", json: "" }]],
    ["body", {}],
    ["model", ""],
    ["spill", 2],
    ["queueWaitMs", -1],
    ["ttftMs", "1"],
    ["totalMs", null],
  ])("refuses %s: %j", (name, value) => {
    expect(parse({ ...whole, [name]: value })).toBeNull();
  });

  it("takes a kind of spill that only a newer cell knows as one that moves no home by itself", () => {
    expect(parse({ ...whole, spill: "sideways" })).toMatchObject({ spill: "once" });
  });

  it("refuses what is no JSON, or no object", () => {
    for (const text of ["", "{", "null", "[]", '"text"', "1"]) {
      expect(parseTurnOutcome(text)).toBeNull();
    }
  });
});
