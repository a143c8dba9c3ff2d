import { expect, test } from "vitest";
import { createClassQueues, patienceMs } from "./class-queues.ts";
import type { Served } from "./class-queues.ts";

function amounts(served: readonly Served[]): readonly (readonly [string, number, number])[] {
  return served.map(({ amount, priority, waitedMs }) => [priority, amount, waitedMs]);
}

test("the upper class goes first, and within a class the oldest", () => {
  const queues = createClassQueues();
  queues.add("batch", 5, 0);
  queues.add("critical", 2, 1_000);
  queues.add("batch", 5, 1_000);
  expect(amounts(queues.serve(8, 2_000))).toStrictEqual([
    ["critical", 2, 1_000],
    ["batch", 5, 2_000],
    ["batch", 1, 1_000],
  ]);
  expect(queues.waiting()).toBe(4);
});

test("what waits longer than its client is shed, and nothing younger", () => {
  const queues = createClassQueues();
  queues.add("standard", 3, 0);
  queues.add("standard", 4, 1_000);
  expect(queues.serve(0, patienceMs)).toStrictEqual([]);
  expect(queues.waiting()).toBe(7);
  expect(queues.serve(0, patienceMs + 1)).toStrictEqual([]);
  expect(queues.shed.standard).toBe(3);
  expect(queues.waiting()).toBe(4);
});

test("whatever comes is served, shed or waiting", () => {
  const queues = createClassQueues();
  let [came, served] = [0, 0];
  for (let step = 0; step < 500; step += 1) {
    const amount = 3 + 2 * Math.sin(step / 9);
    queues.add("interactive", amount, step * 6_000);
    queues.add("batch", amount / 2, step * 6_000);
    came += 1.5 * amount;
    for (const one of queues.serve(4, step * 6_000)) served += one.amount;
  }
  const shed = Object.values(queues.shed).reduce((sum, one) => sum + one, 0);
  expect(shed).toBeGreaterThan(0);
  expect(served + shed + queues.waiting()).toBeCloseTo(came, 6);
});

test("nothing is added for nothing", () => {
  const queues = createClassQueues();
  queues.add("batch", 0, 0);
  expect(queues.serve(1, 0)).toStrictEqual([]);
});
