import { describe, it } from "vitest";
import { createSentSince } from "#edge/adapters/sent-since.ts";
import type { CellHint } from "#shared/health/hint.ts";
import type { CellId } from "#shared/residency/brands.ts";

const west = "eu-west-1a" as CellId;
const north = "eu-north-1a" as CellId;
const hints = (counter: number, boot = 1): ReadonlyMap<CellId, CellHint> =>
  new Map([[west, { boot, counter } as CellHint]]);

describe("what an isolate sent since a cell's hint", () => {
  it("is counted per cell until the next hint of that cell", ({ expect }) => {
    const sent = createSentSince();
    sent.since(hints(1));
    for (const cell of [west, west, north, undefined]) sent.note(cell);
    expect([...sent.since(hints(1))]).toEqual([
      [west, 2],
      [north, 1],
    ]);
    expect(sent.since(hints(2)).get(west)).toBe(0);
    expect(sent.since(hints(2)).get(north)).toBe(1);
  });

  it("begins anew when the cell was started again", ({ expect }) => {
    const sent = createSentSince();
    sent.since(hints(5));
    sent.note(west);
    expect(sent.since(hints(5, 2)).get(west)).toBe(0);
  });
});
