import { describe, test } from "vitest";
import { percentiles } from "./measure.ts";
import { barChart } from "./plots.ts";
import { estimate, formatSummary } from "./summary.ts";

describe("figures over seeds", () => {
  test("have the interval of Student's t", ({ expect }) => {
    // Mean 3, s = √2.5, t(4) = 2.776.
    const { half95, mean } = estimate([1, 2, 3, 4, 5]);
    expect(mean).toBe(3);
    expect(half95).toBeCloseTo((2.776 * Math.sqrt(2.5)) / Math.sqrt(5), 9);
    expect(estimate([7])).toStrictEqual({ mean: 7, half95: 0 });
    expect(estimate([])).toStrictEqual({ mean: 0, half95: 0 });
  });

  test("take the nearest rank", ({ expect }) => {
    const values = Array.from({ length: 200 }, (_, index) => 200 - index);
    expect(percentiles(values)).toStrictEqual({ p50: 100, p95: 190, p99: 198 });
    expect(percentiles([])).toStrictEqual({ p50: 0, p95: 0, p99: 0 });
  });

  test("leave a dash where a policy has none", ({ expect }) => {
    const table = formatSummary([
      { policy: "one", seeds: 2, figures: { ttft: { mean: 1.234, half95: 0.1 } } },
      { policy: "two", seeds: 2, figures: {} },
    ]);
    expect(table.split("\n").at(-1)).toMatch(/^\| ttft +\| 1\.23 ±0\.1 +\| - +\|$/);
  });
});

describe("a bar chart", () => {
  const summaries = [
    { policy: "one", seeds: 2, figures: { ttft: { mean: 10, half95: 2 } } },
    { policy: "<two>", seeds: 2, figures: { ttft: { mean: 5, half95: 0 } } },
  ];

  test("has bars from 0 whose lengths compare", ({ expect }) => {
    const svg = barChart("A & B", "ttft", summaries) ?? "";
    const widths = [...svg.matchAll(/<rect x="190"[^>]* width="([\d.]+)"/g)].map((found) =>
      Number(found[1]),
    );
    expect(widths).toStrictEqual([350, 175]);
    expect(svg).toContain("A &amp; B");
    expect(svg).toContain("&lt;two&gt;");
  });

  test("is none for a figure that nobody has", ({ expect }) => {
    expect(barChart("none", "itl", summaries)).toBeNull();
  });
});
