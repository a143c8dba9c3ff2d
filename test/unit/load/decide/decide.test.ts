import { describe, test } from "vitest";
import { decideCases } from "#test/load/decide/cases.ts";
import { measureCase } from "#test/load/decide/measure.ts";
import { readDecideOptions } from "#test/load/decide/options.ts";
import { beginMark, endMark, formatResults, withSection } from "#test/load/decide/report.ts";

describe("npm run bench:decide", () => {
  test("reads its options", ({ expect }) => {
    expect(readDecideOptions([])).toStrictEqual({ decisions: 100_000, only: null, out: null });
    expect(readDecideOptions(["--long"]).decisions).toBe(10_000_000);
    expect(readDecideOptions(["--only", "64"]).only).toBe("64");
  });

  test.for([
    ["--decisions", "0"],
    ["--decisions", "many"],
    ["--decisions", "999"],
    ["--long", "--decisions", "5000"],
    ["--fast"],
  ])("refuses %j", (args, { expect }) => {
    expect(() => readDecideOptions(args)).toThrow(TypeError);
  });

  test.for(decideCases.map((one) => [one.name, one] as const))(
    "makes each decision: %s",
    ([, decideCase], { expect }) => {
      const run = decideCase.prepare();
      expect(() => run(300)).not.toThrow();
    },
  );

  test("times the part after the warm-up, and reports growth between collections", ({ expect }) => {
    let made = 0;
    let collections = 0;
    const result = measureCase(
      {
        name: "counted",
        prepare: () => (count) => {
          made += count;
        },
      },
      10_000,
      {
        // Each decision takes a microsecond and allocates and keeps ten bytes.
        nowMs: () => made / 1_000,
        heapUsedBytes: () => made * 10,
        collectGarbage: () => {
          collections += 1;
        },
      },
    );
    expect(result.microseconds).toBeCloseTo(1, 9);
    expect(result.fastestMicroseconds).toBeCloseTo(1, 9);
    expect(result.bytesAllocated).toBe(10);
    expect(result.heapGrowthBytes).toBe(90_000);
    expect(collections).toBe(2);
  });

  test("writes its table between the markers, and only there", ({ expect }) => {
    const table = formatResults([
      {
        name: "selection",
        decisions: 1_000,
        microseconds: 20,
        fastestMicroseconds: 10,
        bytesAllocated: 100,
        heapGrowthBytes: 2_048,
      },
    ]);
    expect(table).toContain("| selection | 10.0 | 20.0 | 100000 | 100 | 2 KiB in 1000 |");
    const page = withSection(`before\n${beginMark}\nold\n${endMark}\nafter`, table);
    expect(page).toBe(`before\n${beginMark}\n\n${table}\n\n${endMark}\nafter`);
    expect(() => withSection("no markers", table)).toThrow(/without/);
  });
});
