import { describe, it } from "vitest";
import { historyBorder, savesPrefill } from "#shared/overload/history-border.ts";
import type { HistoryPiece } from "#shared/overload/history-border.ts";

/** Instructions of 100 tokens, then question and answer of 100 each. */
function aHistory(turns: number): readonly HistoryPiece[] {
  return [
    { tokens: 100, isInstruction: true, isUser: false },
    ...Array.from({ length: turns }, () => [
      { tokens: 100, isInstruction: false, isUser: true },
      { tokens: 100, isInstruction: false, isUser: false },
    ]).flat(),
  ];
}

describe("the border of a history", () => {
  it("leaves instructions in front and begins with a message of the user", ({ expect }) => {
    const cut = historyBorder(aHistory(10), 1_100, 256);
    expect(cut).toMatchObject({ leading: 1, leadingTokens: 100, tokensBefore: 2_100 });
    // 1,000 too many are four steps: 1,024, and the first question behind them.
    expect(cut).toMatchObject({ targetTokens: 1_024, from: 13, tokensAfter: 900 });
  });

  it("stays where it is until a step is used up", ({ expect }) => {
    const borders = [7, 8, 9, 10].map((turns) => historyBorder(aHistory(turns), 1_100, 512)?.from);
    expect(borders).toStrictEqual([7, 13, 13, 13]);
  });

  it("is none where all fits, or nothing can go", ({ expect }) => {
    expect(historyBorder(aHistory(5), 1_100, 256)).toBeNull();
    expect(historyBorder(aHistory(6).slice(0, 2), 50, 16)).toBeNull();
    expect(historyBorder(aHistory(6).slice(0, 1), 50, 16)).toBeNull();
  });

  it("is worth a cut where less is computed than without, or where the last cut was", ({
    expect,
  }) => {
    const cut = { targetTokens: 1_024, tokensBefore: 2_100, tokensAfter: 900, leadingTokens: 100 };
    expect(savesPrefill(cut, { cachedTokens: 0, lastCutTokens: null })).toBe(true);
    expect(savesPrefill(cut, { cachedTokens: 1_299, lastCutTokens: null })).toBe(true);
    expect(savesPrefill(cut, { cachedTokens: 1_300, lastCutTokens: null })).toBe(false);
    expect(savesPrefill(cut, { cachedTokens: 2_000, lastCutTokens: 1_024 })).toBe(true);
    expect(savesPrefill(cut, { cachedTokens: 2_000, lastCutTokens: 2_048 })).toBe(false);
  });
});
