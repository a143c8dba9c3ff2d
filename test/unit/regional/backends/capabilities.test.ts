import { describe, it } from "vitest";
import { createCapabilities } from "#regional/backends/capabilities.ts";
import { knownExtensions, readExtensions } from "#regional/backends/dialect.ts";

const vllmModels = { data: [{ id: "m", owned_by: "vllm" }] };

describe("what an engine understands", () => {
  const cases: readonly (readonly [unknown, unknown, object])[] = [
    [vllmModels, { version: "0.11.0" }, { cacheSalt: true, tokenIds: true, continuation: true }],
    [
      vllmModels,
      { version: "0.10.1.post1" },
      { cacheSalt: true, tokenIds: false, continuation: true },
    ],
    [vllmModels, { version: "0.8.5" }, { cacheSalt: false, tokenIds: false, continuation: true }],
    [vllmModels, { version: "1.0.0rc1" }, { cacheSalt: true, tokenIds: true, continuation: true }],
    [vllmModels, { version: "0.6.3" }, { cacheSalt: false, tokenIds: false, continuation: false }],
    [vllmModels, null, { cacheSalt: false, tokenIds: false, continuation: false }],
    [vllmModels, { version: "dev" }, { cacheSalt: false, tokenIds: false, continuation: false }],
    [
      { data: [{ owned_by: "library" }] },
      { version: "0.11.0" },
      { cacheSalt: false, tokenIds: false, continuation: false },
    ],
    [
      { data: [] },
      { version: "0.11.0" },
      { cacheSalt: false, tokenIds: false, continuation: false },
    ],
    ["<html>", "<html>", { cacheSalt: false, tokenIds: false, continuation: false }],
  ];
  for (const [models, version, wanted] of cases) {
    it(`is read from ${JSON.stringify([models, version])}`, ({ expect }) => {
      expect(readExtensions(models, version)).toEqual(wanted);
    });
  }

  it("is asked before the first prompt, and not again until it is old", async ({ expect }) => {
    let nowMs = 0;
    const asked: string[] = [];
    const clock = { nowMs: () => nowMs, after: () => () => {}, every: () => () => {} };
    const capabilities = createCapabilities(
      null,
      async (path) => {
        asked.push(path);
        return path === "models" ? vllmModels : { version: "0.11.0" };
      },
      clock,
    );
    const both = await Promise.all([capabilities.current(), capabilities.current()]);
    expect(both).toEqual([
      { cacheSalt: true, tokenIds: true, continuation: true },
      { cacheSalt: true, tokenIds: true, continuation: true },
    ]);
    expect(asked).toEqual(["models", "version"]);
    nowMs = 299_999;
    await capabilities.current();
    expect(asked).toHaveLength(2);
    nowMs = 300_000;
    await capabilities.current();
    await capabilities.refresh();
    expect(asked).toHaveLength(4);
  });

  it("is known of the simulated engine without asking", async ({ expect }) => {
    const clock = { nowMs: () => 0, after: () => () => {}, every: () => () => {} };
    const never = () => Promise.reject(new Error("asked"));
    const capabilities = createCapabilities(knownExtensions("simulated"), never, clock);
    expect(await capabilities.current()).toEqual({
      cacheSalt: true,
      tokenIds: true,
      continuation: true,
    });
  });
});
