import { expect, it } from "vitest";
import { backTest } from "./back-test.ts";

const days = Array.from(
  { length: 144 * 6 },
  (_, step) => 100 + 50 * Math.sin((2 * Math.PI * step) / 144),
);

it("scores each horizon over the part that is asked for, from what came before alone", () => {
  const scores = backTest(days, 144 * 3, 144 * 6);
  expect(scores.map(({ steps, count }) => [steps, count])).toStrictEqual([
    [1, 431],
    [2, 430],
    [6, 426],
  ]);
  for (const { error, errorAsNow } of scores) expect(error).toBeLessThan(errorAsNow);
  // What comes later changes nothing.
  const other = [...days.slice(0, 144 * 5), ...days.slice(0, 144).map((value) => 3 * value)];
  expect(backTest(other, 144 * 3, 144 * 5)).toStrictEqual(backTest(days, 144 * 3, 144 * 5));
});

it("leaves steps of silence out", () => {
  const silent = days.map((value, step) => (step % 144 === 7 ? 0 : value));
  const [next] = backTest(silent, 144 * 3, 144 * 6);
  // Three steps of silence, each left out once as the present and once as the target.
  expect(next?.count).toBe(431 - 6);
});
