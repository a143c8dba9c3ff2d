import { describe, expect, it } from "vitest";
import { learnTemplate, textAt } from "#shared/protocol/engine/text-template.ts";
import type { TextTemplate } from "#shared/protocol/engine/text-template.ts";

function textIn(data: string): string | null {
  const { choices } = JSON.parse(data) as {
    readonly choices: readonly [{ readonly delta: { readonly content: string } }];
  };
  return choices[0].delta.content;
}

const event = (text: string): string => `{"id":"c1","choices":[{"delta":{"content":"${text}"}}]}`;

function learned(data: string, text: string): TextTemplate | null {
  return learnTemplate(data, { kind: "delta", choice: 0, text }, textIn);
}

describe("the template of an engine's pieces", () => {
  it("is what stands around the text, and gives another event's text", () => {
    const template = learned(event("one"), "one");
    expect(template).toEqual({
      prefix: '{"id":"c1","choices":[{"delta":{"content":"',
      suffix: '"}}]}',
      choice: 0,
    });
    expect(template && textAt(template, event(" two"))).toBe(" two");
    expect(template && textAt(template, event("a\\nb \\u00e9"))).toBe("a\nb é");
  });

  it("is not learned where another field has the text's words", () => {
    const data = '{"content":"one","choices":[{"delta":{"content":"one"}}]}';
    expect(learned(data, "one")).toBeNull();
  });

  it("is not learned from a text that needs an escape, nor from a piece without text", () => {
    expect(learned(event("a\\nb"), "a\nb")).toBeNull();
    expect(learnTemplate(event("one"), { kind: "delta", choice: 0 }, textIn)).toBeNull();
  });

  it.each([
    ["another id", '{"id":"c2","choices":[{"delta":{"content":"x"}}]}'],
    ["another end", '{"id":"c1","choices":[{"delta":{"content":"x"},"finish_reason":"stop"}]}'],
    ["a literal that ends early", event('x","role":"y')],
    ["a broken escape", event("\\x")],
    ["a raw line break", event("a\nb")],
    ["no text", event("")],
    ["nothing", ""],
  ])("leaves an event with %s to the JSON reader", (_name, data) => {
    const template = learned(event("one"), "one");
    expect(template && textAt(template, data)).toBeNull();
  });
});
