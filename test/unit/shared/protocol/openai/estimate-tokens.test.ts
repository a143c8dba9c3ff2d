import { readFileSync } from "node:fs";
import { describe, it } from "vitest";
import { estimateTokens } from "#shared/protocol/openai/estimate-tokens.ts";

function read<Value>(name: string): Record<string, Value> {
  const text = readFileSync(new URL(name, import.meta.url), "utf8");
  return JSON.parse(text) as Record<string, Value>;
}

/** Texts that the weights were not fitted to, and what real vocabularies count of them (test/support/count-tokens.ts). */
const samples = read<string>("./token-samples.json");
const counts = read<Record<string, number>>("./token-counts.json");
const titles = Object.keys(samples);

const estimateOf = (title: string): number => estimateTokens(samples[title] ?? "");
const worstOf = (title: string): number => Math.max(...Object.values(counts[title] ?? {}));

describe("an estimate", () => {
  it.for(titles)(
    "with the margin of a reservation covers what any vocabulary counts: %s",
    (title, { expect }) => {
      expect(estimateOf(title) * 1.5).toBeGreaterThanOrEqual(worstOf(title));
    },
  );

  it.for(titles.filter((title) => title !== "Repeated letter"))(
    "is at most half more than the worst count, so that limits stay usable: %s",
    (title, { expect }) => {
      expect(estimateOf(title)).toBeLessThanOrEqual(worstOf(title) * 1.5);
    },
  );

  it("is nearer to the counts than characters / 4 for most texts", ({ expect }) => {
    const distance = (estimate: number, title: string): number =>
      Math.abs(Math.log(estimate / worstOf(title)));
    const nearer = titles.filter((title) => {
      const quarter = Math.ceil((samples[title] ?? "").length / 4);
      return distance(estimateOf(title), title) < distance(quarter, title);
    });
    expect(nearer.length).toBeGreaterThanOrEqual(Math.ceil(titles.length * 0.75));
  });

  it("of nothing is nothing, and never less for a longer text", ({ expect }) => {
    expect(estimateTokens("")).toBe(0);
    for (const title of titles) {
      const text = samples[title] ?? "";
      let last = 0;
      for (let length = 0; length <= text.length; length += 1) {
        const tokens = estimateTokens(text.slice(0, length));
        expect(tokens).toBeGreaterThanOrEqual(last);
        last = tokens;
      }
    }
  });

  it("of a text too long to be read whole is that of its pieces, within 5 %", ({ expect }) => {
    const unit = samples["English prose"] ?? "";
    const whole = estimateTokens(unit) * 1_000;
    const sampled = estimateTokens(unit.repeat(1_000));
    expect(Math.abs(sampled / whole - 1)).toBeLessThan(0.05);
  });
});
