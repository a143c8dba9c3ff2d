import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { readTrace } from "#dev/capacity/request-trace.ts";
import { latenciesAt, levels, measureCurve, weights } from "./engine-curve.ts";
import { dayOffer, traceText } from "./fleet-of-tests.ts";

const folder = mkdtempSync(join(tmpdir(), "curve-"));
writeFileSync(join(folder, "trace.csv"), traceText(2_000));
const trace = readTrace(join(folder, "trace.csv"));
afterAll(() => rmSync(folder, { recursive: true }));

test("weights of the levels sum up to everything", () => {
  expect(weights.reduce((sum, weight) => sum + weight, 0)).toBeCloseTo(1, 9);
});

test("a replica is measured request by request: it answers later the more it has to do", () => {
  const curve = measureCurve(trace, dayOffer("firm").offer, 1);
  expect(curve.requestsPerSecond).toBeGreaterThan(0);
  expect(curve.promptsPerSecond).toBeGreaterThanOrEqual(curve.requestsPerSecond);
  expect(curve.residenceSeconds).toBeGreaterThan(0);
  const median = levels.indexOf(0.55);
  const [first, last] = [curve.latencies[0]?.[median], curve.latencies.at(-1)?.[median]];
  expect(last).toBeGreaterThanOrEqual(first ?? Infinity);
  expect(measureCurve(trace, dayOffer("firm").offer, 1)).toStrictEqual(curve);
});

test("between measured loads latencies lie on a straight line, and outside at its ends", () => {
  const curve = {
    requestsPerSecond: 1,
    promptsPerSecond: 1,
    residenceSeconds: 1,
    busyResidenceSeconds: 1,
    loads: [0.2, 0.6],
    latencies: [[1], [3]],
  };
  expect(latenciesAt(curve, 0)).toStrictEqual([1]);
  expect(latenciesAt(curve, 0.4)[0]).toBeCloseTo(2);
  expect(latenciesAt(curve, 1)).toStrictEqual([3]);
});
