import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { parseEngineMetrics, parseLoadHeader } from "#shared/routing/engine-load.ts";
import type { EngineLoad } from "#shared/routing/engine-load.ts";
import { foreignAt, noteLoad, reportWeight } from "#shared/routing/foreign-load.ts";

const names = [
  "vllm:num_requests_running",
  "vllm:num_requests_waiting",
  "vllm:kv_cache_usage_perc",
  "sglang:num_running_reqs",
  "sglang:token_usage",
  "vllm:num_requests_running_total",
];
const almost = fc.oneof(
  fc.string({ unit: "binary" }),
  fc.constantFrom("NaN", "+Inf", "-Inf", "-3", "1e999", "0x10", "", " ", "7 8 9", "1e-400", "4.5"),
  fc.double().map(String),
);
const labels = fc.constantFrom("", '{engine="0"}', "{", '{a="}"}', "{}", '{engine="0"} {x="y"}');
const line = fc.oneof(
  fc.string({ unit: "binary" }),
  fc
    .tuple(fc.constantFrom(...names), labels, fc.constantFrom(" ", "\t", "", "="), almost)
    .map((parts) => parts.join("")),
);
const texts = fc.array(line, { maxLength: 40 }).map((lines) => lines.join("\n"));
const headers = fc
  .array(fc.tuple(fc.constantFrom(...names, "kv_cache_usage_perc"), almost), { maxLength: 9 })
  .map(
    (pairs) => `TEXT ${pairs.map(([name, value]) => `named_metrics.${name}=${value}`).join(",")}`,
  );

function isSane(load: EngineLoad | null): boolean {
  if (load === null) return true;
  const counts = [load.running, load.waiting].every(
    (count) => count === null || (count >= 0 && count <= 1_000_000),
  );
  return counts && (load.kvShare === null || (load.kvShare >= 0 && load.kvShare <= 1));
}

describe("what an engine says of its load, whatever it says", () => {
  it("is finite and in range, or nothing", () => {
    fc.assert(fc.property(texts, (text) => isSane(parseEngineMetrics(text))));
    fc.assert(fc.property(headers, (text) => isSane(parseLoadHeader(text))));
    fc.assert(fc.property(fc.string(), (text) => isSane(parseLoadHeader(text))));
  });

  it("is read as it was written, in any company", () => {
    const count = fc.nat(10_000);
    fc.assert(
      fc.property(count, count, fc.double({ min: 0, max: 1, noNaN: true }), (run, wait, kv) => {
        const text = [
          "# HELP vllm:num_requests_running Number of requests in model execution batches.",
          "# TYPE vllm:num_requests_running gauge",
          `vllm:num_requests_running{engine="0",model_name="a/b"} ${run}.0`,
          `vllm:num_requests_waiting{engine="0",model_name="a/b"} ${wait}.0 1700000000000`,
          `vllm:kv_cache_usage_perc{engine="0",model_name="a/b"} ${kv}\r`,
          `vllm:e2e_request_latency_seconds_bucket{engine="0",le="0.3"} 99`,
        ].join("\n");
        expect(parseEngineMetrics(text)).toEqual({ running: run, waiting: wait, kvShare: kv });
      }),
    );
  });

  it("never makes a shard look emptier than the cell knows it, nor closes it", () => {
    const capacity = { concurrentRequestsMax: 64, kvTokensMax: 100_000 };
    const maybe = <T>(value: fc.Arbitrary<T>) => fc.option(value);
    const loads = fc.record({
      running: maybe(fc.nat(1_000_000)),
      waiting: maybe(fc.nat(1_000_000)),
      kvShare: maybe(fc.double({ min: 0, max: 1, noNaN: true })),
    });
    const owns = fc.record({ inFlight: fc.nat(64), kvTokens: fc.nat(100_000) });
    fc.assert(
      fc.property(fc.array(fc.tuple(loads, owns, fc.nat(40_000)), { maxLength: 9 }), (reports) => {
        let foreign = null;
        let nowMs = 0;
        for (const [load, own, passedMs] of reports) {
          nowMs += passedMs;
          foreign = noteLoad(foreign, load, own, capacity, nowMs);
          const { inFlight, kvTokens } = foreignAt(foreign, nowMs);
          expect(inFlight).toBeGreaterThanOrEqual(0);
          expect(kvTokens).toBeGreaterThanOrEqual(0);
          expect(inFlight / 64).toBeLessThan(0.9);
          expect(kvTokens / 85_000).toBeLessThan(0.9);
        }
        expect(reportWeight(foreign, nowMs + 1e9)).toBeGreaterThan(0);
      }),
    );
  });
});
