import { createHmac } from "node:crypto";
import { describe, it } from "vitest";
import { decodeHint, encodeHint, hintCharactersMax } from "#shared/health/hint-codec.ts";
import { ageWeight, hintKey, mergeHint } from "#shared/health/hint.ts";
import type { CellHint, ShardHint } from "#shared/health/hint.ts";
import type { CellId } from "#shared/residency/brands.ts";

const cell = "eu-west-1a" as CellId;
const mac = (text: string): string => createHmac("sha256", "key").update(text).digest("hex");
const sign = (payload: string): string => `${mac(`health;v1;${payload}`)}.${payload}`;

const aShard = (overrides: Partial<ShardHint> = {}): ShardHint => ({
  id: "eu-west-1a/llama-0",
  weight: 0.9,
  state: "ready",
  inFlight: 3,
  queued: 1,
  breaker: "closed",
  ...overrides,
});

const aHint = (overrides: Partial<CellHint> = {}): CellHint => ({
  v: 1,
  cell,
  boot: 1_000,
  counter: 7,
  atMs: 2_000,
  weight: 0.5,
  saturation: 0.25,
  level: 1,
  models: ["sim/llama-3.1-8b-instruct"],
  shards: [aShard()],
  ...overrides,
});

describe("encodeHint and decodeHint", () => {
  it("give back what was written", async ({ expect }) => {
    const text = await encodeHint(aHint(), mac);
    expect(await decodeHint(text, async (input) => mac(input), { cell })).toEqual({
      ok: true,
      hint: aHint(),
    });
  });

  it("tell when a cold shard will be ready since version 2", async ({ expect }) => {
    const shards = [
      aShard({ state: "warming", readyInSeconds: 65 }),
      aShard({ readyInSeconds: null }),
    ];
    const hint = aHint({ v: 2, shards });
    const text = await encodeHint(hint, mac);
    expect(await decodeHint(text, mac, { cell })).toEqual({ ok: true, hint });
  });

  it("name one key per cell and version", ({ expect }) => {
    expect(hintKey(cell)).toBe("meridian:health:v1:eu-west-1a");
  });

  it("refuse a value of another key, of another cell, or that was changed", async ({ expect }) => {
    const text = (await encodeHint(aHint(), mac)) ?? "";
    const other = (input: string): string =>
      createHmac("sha256", "other").update(input).digest("hex");
    expect(await decodeHint(text, other, { cell })).toEqual({ ok: false, reason: "badMac" });
    const changed = text.replace('"weight":0.5', '"weight":0.6');
    expect(await decodeHint(changed, mac, { cell })).toEqual({ ok: false, reason: "badMac" });
    const elsewhere = "eu-central-1a" as CellId;
    expect(await decodeHint(text, mac, { cell: elsewhere })).toEqual({
      ok: false,
      reason: "otherCell",
    });
  });

  it.for<[unknown, string]>([
    [null, "missing"],
    [undefined, "missing"],
    ["", "malformed"],
    ["{}", "malformed"],
    ["<!doctype html>", "malformed"],
    [42, "malformed"],
    [{ weight: 1 }, "malformed"],
    [`${"0".repeat(64)}.{}`, "badMac"],
    ["x".repeat(hintCharactersMax + 1), "tooLong"],
    [sign("no json"), "badShape"],
    [sign("null"), "badShape"],
    [sign("[]"), "badShape"],
    [sign(JSON.stringify({ ...aHint(), v: 3 })), "badShape"],
    // A version has its own fields, no others.
    [sign(JSON.stringify({ ...aHint(), v: 2 })), "badShape"],
    [sign(JSON.stringify(aHint({ shards: [aShard({ readyInSeconds: 5 })] }))), "badShape"],
    [sign(JSON.stringify(aHint({ v: 2, shards: [aShard({ readyInSeconds: -1 })] }))), "badShape"],
    [sign(JSON.stringify(aHint({ v: 2, shards: [aShard({ readyInSeconds: 1e9 })] }))), "badShape"],
  ])("refuse %s as %s", async ([value, reason], { expect }) => {
    expect(await decodeHint(value, mac, { cell })).toEqual({ ok: false, reason });
  });

  it.for<[string, object]>([
    ["an unknown field", { url: "https://evil.example" }],
    ["a URL as a model", { models: ["https://evil.example/v1"] }],
    ["a URL as a shard", { shards: [aShard({ id: "https://evil.example" })] }],
    ["a shard of another cell", { shards: [aShard({ id: "eu-central-1a/llama-0" })] }],
    ["an unknown field of a shard", { shards: [{ ...aShard(), prompt: "hello" }] }],
    ["a missing field", { level: undefined }],
    ["a weight over 1", { weight: 1.01 }],
    ["a weight below 0", { weight: -0.01 }],
    ["a weight that is no number", { weight: "1" }],
    ["a level past 4", { level: 5 }],
    ["a counter that is not whole", { counter: 1.5 }],
    ["a negative boot", { boot: -1 }],
    ["an unknown state", { shards: [{ ...aShard(), state: "dead" }] }],
    ["an unknown breaker", { shards: [{ ...aShard(), breaker: "ajar" }] }],
    ["too many shards", { shards: Array.from({ length: 1_025 }, () => aShard()) }],
    ["too many models", { models: Array.from({ length: 1_025 }, () => "m") }],
  ])("refuse %s, even when its MAC holds, and do not write it", async ([, flaw], { expect }) => {
    const flawed = { ...aHint(), ...flaw } as CellHint;
    const value = sign(JSON.stringify(flawed));
    expect(await decodeHint(value, mac, { cell })).toEqual({ ok: false, reason: "badShape" });
    expect(await encodeHint(flawed, mac)).toBeNull();
  });

  it("take as many shards as a cell may have", async ({ expect }) => {
    const id = `eu-west-1a/${"n".repeat(64)}`;
    const shards = Array.from({ length: 1_024 }, () => aShard({ id, state: "draining" }));
    const text = await encodeHint(aHint({ shards }), mac);
    expect(text?.length).toBeLessThan(hintCharactersMax);
    expect(await decodeHint(text, mac, { cell })).toMatchObject({ ok: true });
  });
});

describe("mergeHint", () => {
  it.for<[string, Partial<CellHint>, boolean]>([
    ["a higher counter", { counter: 8, atMs: 0 }, true],
    ["the same version", {}, true],
    ["a lower counter", { counter: 6, atMs: 9_000 }, false],
    ["a later boot with a low counter", { boot: 1_001, counter: 1 }, true],
    ["an earlier boot with a high counter", { boot: 999, counter: 99 }, false],
  ])("with %s: takes the new one is %s", ([, next, isTaken], { expect }) => {
    const previous = aHint();
    const candidate = aHint(next);
    expect(mergeHint(previous, candidate) === candidate).toBe(isTaken);
  });

  it("takes the first one", ({ expect }) => {
    const next = aHint();
    expect(mergeHint(undefined, next)).toBe(next);
  });
});

describe("ageWeight", () => {
  const policy = { hintAgeMsMax: 120_000, clockSkewMsMax: 30_000 };
  it.for<[number, number]>([
    [-30_001, 1],
    [-30_000, 0.2],
    [0, 0.2],
    [60_000, 0.6],
    [119_999, 1],
    [120_000, 1],
    [1e9, 1],
  ])("believes 0.2 at an age of %i ms as %d", ([ageMs, expected], { expect }) => {
    const published = { weight: 0.2, atMs: 1e12 };
    expect(ageWeight(published, 1e12 + ageMs, policy)).toBeCloseTo(expected, 4);
  });
});
