import { describe, expect, it } from "vitest";
import { chooseThird } from "#dev/drill/drills/third.ts";

describe("a third of the shards", () => {
  it("is rounded up", () => {
    expect(chooseThird(["a", "b", "c", "d", "e", "f"], () => 0)).toEqual(["a", "b"]);
    expect(chooseThird(["a", "b", "c", "d"], () => 0)).toEqual(["a", "b"]);
    expect(chooseThird(["a", "b"], () => 0)).toEqual(["a"]);
  });

  it("begins where the seed says and goes round", () => {
    expect(chooseThird(["a", "b", "c", "d"], () => 0.99)).toEqual(["d", "a"]);
  });
});
