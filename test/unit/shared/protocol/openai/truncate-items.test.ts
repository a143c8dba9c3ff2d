import { describe, it } from "vitest";
import { checkContextLength, truncateItems } from "#shared/protocol/openai/truncate-items.ts";
import { messageTokens } from "#shared/protocol/openai/estimate-tokens.ts";
import type { ItemRecord } from "#shared/protocol/internal/turn-outcome.ts";
import type { JsonObject } from "#shared/protocol/json.ts";

function record(id: string, item: JsonObject & { readonly type: string }): ItemRecord {
  return { id, type: item.type, json: JSON.stringify({ id, ...item }) };
}

/** A text of exactly `tokens` estimated tokens. */
function words(tokens: number): string {
  return Array.from({ length: tokens }, () => "x").join(" ");
}

/** A message of exactly `tokens` estimated tokens, with the 5 that stand around each. */
function message(id: string, role: string, tokens: number): ItemRecord {
  const content = [{ type: "input_text", text: words(tokens - messageTokens) }];
  return record(id, { type: "message", role, content });
}

function output(callId: string, tokens: number): ItemRecord {
  const fields = { call_id: callId, output: words(tokens) };
  return record(`out_${callId}`, { type: "function_call_output", ...fields });
}

function call(callId: string): ItemRecord {
  const fields = { call_id: callId, name: "f", arguments: "{}" };
  return record(`call_${callId}`, { type: "function_call", ...fields });
}

const fit = (contextTokensMax: number, completionTokensMax: number | null = 10) =>
  ({ contextTokensMax, completionTokensMax, param: "input" }) as const;

function keptIds(result: ReturnType<typeof truncateItems>): string[] | string {
  return result.ok ? result.items.map(({ id }) => id) : result.error.code;
}

describe("a history with truncation disabled", () => {
  const items = [message("a", "user", 50), message("b", "user", 40)];

  it("passes whole when it fits to the token", ({ expect }) => {
    expect(truncateItems(items, "disabled", 0, fit(100))).toEqual({
      ok: true,
      items,
      droppedCount: 0,
      promptTokensEstimate: 90,
    });
  });

  it("is refused when it is one token too long", ({ expect }) => {
    expect(truncateItems(items, "disabled", 1, fit(100))).toMatchObject({
      ok: false,
      error: { code: "context_length_exceeded", param: "input" },
    });
  });
});

describe("a history with truncation auto", () => {
  it("passes whole when it fits", ({ expect }) => {
    const items = [message("a", "user", 50), message("b", "user", 40)];
    expect(keptIds(truncateItems(items, "auto", 0, fit(100)))).toEqual(["a", "b"]);
  });

  it("loses its oldest items, as few as are enough", ({ expect }) => {
    const items = ["a", "b", "c", "d"].map((id) => message(id, "user", 30));
    const result = truncateItems(items, "auto", 5, fit(80));
    expect(keptIds(result)).toEqual(["c", "d"]);
    expect(result).toMatchObject({ droppedCount: 2, promptTokensEstimate: 65 });
  });

  it("keeps leading system and developer messages", ({ expect }) => {
    const items = [
      message("system", "system", 20),
      message("rules", "developer", 20),
      message("old", "user", 30),
      message("new", "user", 10),
    ];
    expect(keptIds(truncateItems(items, "auto", 0, fit(60)))).toEqual(["system", "rules", "new"]);
  });

  it("drops a system message that stands in the middle", ({ expect }) => {
    const items = [message("a", "user", 10), message("s", "system", 50), message("b", "user", 10)];
    expect(keptIds(truncateItems(items, "auto", 0, fit(40)))).toEqual(["b"]);
  });

  it("never parts a call from its output", ({ expect }) => {
    const items = [
      message("a", "user", 5),
      call("1"),
      call("2"),
      output("1", 30),
      output("2", 5),
      message("b", "user", 5),
    ];
    const whole = truncateItems(items, "auto", 0, fit(1000));
    const size = whole.ok ? whole.promptTokensEstimate : 0;
    expect(keptIds(truncateItems(items, "auto", 0, fit(size + 10 - 1)))).toEqual([
      "call_1",
      "call_2",
      "out_1",
      "out_2",
      "b",
    ]);
    expect(keptIds(truncateItems(items, "auto", 0, fit(size + 10 - 6)))).toEqual(["b"]);
  });

  it("does not begin behind reasoning that belongs to the next item", ({ expect }) => {
    const reasoning = record("r", {
      type: "reasoning",
      content: [{ type: "reasoning_text", text: "x".repeat(400) }],
    });
    const items = [reasoning, message("a", "assistant", 10), message("b", "user", 10)];
    expect(keptIds(truncateItems(items, "auto", 0, fit(50)))).toEqual(["b"]);
  });

  it("is refused when the newest item alone is too long", ({ expect }) => {
    const items = [message("a", "user", 10), message("b", "user", 200)];
    expect(keptIds(truncateItems(items, "auto", 0, fit(100)))).toBe("context_length_exceeded");
  });

  it("is refused when nothing but the newest call's output would remain", ({ expect }) => {
    const items = [message("a", "user", 10), call("1"), output("1", 200)];
    expect(keptIds(truncateItems(items, "auto", 0, fit(100)))).toBe("context_length_exceeded");
  });

  it("keeps a quarter of a small context free when no maximum is set", ({ expect }) => {
    const items = [message("a", "user", 40), message("b", "user", 40)];
    expect(keptIds(truncateItems(items, "auto", 0, fit(100, null)))).toEqual(["b"]);
  });

  it("passes an empty history", ({ expect }) => {
    expect(keptIds(truncateItems([], "auto", 0, fit(100)))).toEqual([]);
  });

  it("counts an image as 765 tokens", ({ expect }) => {
    const content = [{ type: "input_image", image_url: "https://a.example/b.png" }];
    const items = [record("i", { type: "message", role: "user", content })];
    expect(truncateItems(items, "auto", 0, fit(1000))).toMatchObject({ promptTokensEstimate: 770 });
  });
});

describe("the context length of a request without a history", () => {
  it("counts the answer's maximum", ({ expect }) => {
    expect(checkContextLength(90, fit(100, 10))).toBeNull();
    expect(checkContextLength(91, fit(100, 10))).toMatchObject({ code: "context_length_exceeded" });
    expect(checkContextLength(100, fit(100, null))).toBeNull();
    expect(checkContextLength(101, fit(100, null))?.message).toContain("about 101");
  });
});
