import { describe, it } from "vitest";
import {
  heldTokens,
  noTokenRate,
  observeTokens,
  tokenRateAt,
} from "#shared/routing/held-tokens.ts";

describe("the tokens that a shard still holds of a conversation", () => {
  it("are all of them on a shard that is sent nothing", ({ expect }) => {
    expect(heldTokens(5_000, 86_400, 0, 400_000)).toBe(5_000);
  });

  it("are half of them once the shard was sent as much as it can keep", ({ expect }) => {
    expect(heldTokens(5_000, 40, 10_000, 400_000)).toBeCloseTo(2_500, 6);
    expect(heldTokens(5_000, 400, 10_000, 400_000)).toBeLessThan(5);
  });

  it("are none of nothing, and no more in a past that has not come", ({ expect }) => {
    expect(heldTokens(0, 1, 1, 1)).toBe(0);
    expect(heldTokens(Number.NaN, 1, 1, 1)).toBe(0);
    expect(heldTokens(100, -5, 10_000, 400_000)).toBe(100);
  });
});

describe("the rate of tokens that reach a shard", () => {
  it("comes near a steady stream's, and fades after it", ({ expect }) => {
    let rate = noTokenRate;
    for (let second = 0; second < 600; second += 1)
      rate = observeTokens(rate, 1_000, second * 1_000);
    expect(tokenRateAt(rate, 599_000)).toBeGreaterThan(950);
    expect(tokenRateAt(rate, 599_000)).toBeLessThan(1_050);
    expect(tokenRateAt(rate, 599_000 + 600_000)).toBeLessThan(1);
    expect(tokenRateAt(rate, 0)).toBe(rate.perSecond);
  });
});
