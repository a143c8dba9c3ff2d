import { describe, it } from "vitest";
import type { JsonObject } from "#shared/protocol/json.ts";
import { chunkKeys } from "#shared/routing/chunk-keys.ts";

const text = (letter: string, length: number): string => letter.repeat(length);
function chat(...contents: readonly string[]): JsonObject {
  return {
    temperature: 0.5,
    messages: contents.map((content, index) => ({
      role: index === 0 ? "system" : "user",
      content,
    })),
  };
}
function common(left: readonly number[], right: readonly number[]): number {
  let count = 0;
  while (count < left.length && left[count] === right[count]) count += 1;
  return count;
}

describe("the keys of a prompt's chunks", () => {
  it("are those of its conversation's turn before, and more", ({ expect }) => {
    const first = chunkKeys("salt", chat(text("s", 3_000), text("u", 3_000)));
    const next = chunkKeys("salt", chat(text("s", 3_000), text("u", 3_000), text("v", 3_000)));
    expect(first.length).toBe(5);
    expect(next.length).toBe(8);
    expect(common(first, next)).toBe(first.length);
  });

  it("part where the prompts part, and never meet again", ({ expect }) => {
    const left = chunkKeys("salt", chat(text("s", 4_096), `a${text("u", 4_096)}`));
    const right = chunkKeys("salt", chat(text("s", 4_096), `b${text("u", 4_096)}`));
    expect(common(left, right)).toBe(4);
    expect(left.slice(4).filter((key) => right.includes(key))).toEqual([]);
  });

  it("have nothing in common with another tenant's", ({ expect }) => {
    const body = chat(text("s", 10_000));
    const other = chunkKeys("another salt", body);
    expect(chunkKeys("salt", body).filter((key) => other.includes(key))).toEqual([]);
  });

  it("cover tools before messages, prompts as text and as token ids, and no sampling parameter", ({
    expect,
  }) => {
    const tools = [{ type: "function", function: { name: text("f", 2_048) } }];
    const plain = chunkKeys("salt", chat(text("s", 4_096)));
    expect(common(plain, chunkKeys("salt", { ...chat(text("s", 4_096)), tools }))).toBe(0);
    expect(chunkKeys("salt", { ...chat(text("s", 4_096)), temperature: 1 })).toEqual(plain);
    expect(chunkKeys("salt", { prompt: text("p", 2_048) })).toHaveLength(2);
    const ids = Array.from({ length: 1_000 }, (_, index) => 10_000 + index);
    expect(chunkKeys("salt", { prompt: ids })).toHaveLength(4);
  });

  it("are none for a prompt shorter than a chunk, and none for no prompt", ({ expect }) => {
    expect(chunkKeys("salt", { prompt: text("p", 1_023) })).toEqual([]);
    expect(chunkKeys("salt", { prompt: text("p", 1_024) })).toHaveLength(1);
    expect(chunkKeys("salt", {})).toEqual([]);
    expect(chunkKeys("salt", { messages: null })).toEqual([]);
  });

  it("are at most 512, however long and deep the prompt", ({ expect }) => {
    expect(chunkKeys("salt", { prompt: text("p", 1_024 * 600) })).toHaveLength(512);
    let deep: JsonObject = { content: text("x", 5_000) };
    for (let depth = 0; depth < 10_000; depth += 1) deep = { inner: deep };
    expect(chunkKeys("salt", { messages: deep })).toEqual([]);
  });
});
