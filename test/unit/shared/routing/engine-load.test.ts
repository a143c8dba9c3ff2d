import { describe, it } from "vitest";
import {
  metricsCharactersMax,
  metricsFamilyOf,
  parseEngineMetrics,
  parseLoadHeader,
} from "#shared/routing/engine-load.ts";
import { foreignAt, noteLoad, reportWeight } from "#shared/routing/foreign-load.ts";

describe("an engine's metrics", () => {
  it("are read by SGLang's names and by vLLM's older one", ({ expect }) => {
    const sglang = [
      'sglang:num_running_reqs{model_name="m"} 3',
      'sglang:num_queue_reqs{model_name="m"} 2',
      'sglang:token_usage{model_name="m"} 0.28',
    ];
    expect(parseEngineMetrics(sglang.join("\n"))).toEqual({
      running: 3,
      waiting: 2,
      kvShare: 0.28,
    });
    expect(parseEngineMetrics("vllm:gpu_cache_usage_perc 0.5\n")).toEqual({
      running: null,
      waiting: null,
      kvShare: 0.5,
    });
  });

  it("are read by llama.cpp's and TGI's names", ({ expect }) => {
    const llama = "llamacpp:requests_processing 1\nllamacpp:requests_deferred 2\n";
    expect(parseEngineMetrics(llama)).toEqual({ running: 1, waiting: 2, kvShare: null });
    const tgi = "tgi_batch_current_size 3\ntgi_queue_size 4\ntgi_queue_size_count 9\n";
    expect(parseEngineMetrics(tgi)).toEqual({ running: 3, waiting: 4, kvShare: null });
  });

  it.for([
    ["vllm", "vllm:num_requests_running 0"],
    ["sglang", "sglang:token_usage 0.1"],
    ["tgi", "tgi_queue_size x\ntgi_batch_current_size 1"],
    [null, "vllm:num_requests_running NaN"],
    [null, "vllm:something_else 1"],
  ] as const)("have the family %s", ([family, text], { expect }) => {
    expect(metricsFamilyOf(text)).toBe(family);
  });

  it("of several replicas are added, their memory is averaged", ({ expect }) => {
    const text = [0, 1]
      .flatMap((engine) => [
        `vllm:num_requests_running{engine="${engine}"} ${engine + 1}`,
        `vllm:kv_cache_usage_perc{engine="${engine}"} ${engine / 2}`,
      ])
      .join("\n");
    expect(parseEngineMetrics(text)).toEqual({ running: 3, waiting: null, kvShare: 0.25 });
  });

  it.for([
    ["other metrics", "process_cpu_seconds_total 3\nray:num_requests_running 1"],
    ["a page", "<html>vllm:num_requests_running 3</html>"],
    ["a comment", "# vllm:num_requests_running 3"],
    ["a name that goes on", "vllm:num_requests_running_total 3"],
    ["no number", "vllm:num_requests_running NaN"],
    ["less than nothing", "vllm:num_requests_running -1"],
    ["more than all", "vllm:kv_cache_usage_perc 57"],
    ["nothing", ""],
  ] as const)("say nothing when they are %s", ([, text], { expect }) => {
    expect(parseEngineMetrics(text)).toBeNull();
  });

  it("are not looked at beyond their bounds", ({ expect }) => {
    const good = "vllm:num_requests_running 3\n";
    const text = good.padEnd(metricsCharactersMax, "x");
    expect(parseEngineMetrics(text)?.running).toBe(3);
    expect(parseEngineMetrics(`${text}x`)).toBeNull();
    const long = `vllm:num_requests_running{a="${"x".repeat(3_000)}"} 3`;
    expect(parseEngineMetrics(long)).toBeNull();
  });
});

describe("an answer's load header", () => {
  it("is read as vLLM writes it", ({ expect }) => {
    const text =
      "TEXT named_metrics.kv_cache_usage_perc=0.4, named_metrics.num_requests_waiting=2.0";
    expect(parseLoadHeader(text)).toEqual({ running: null, waiting: 2, kvShare: 0.4 });
  });

  it.for([
    "JSON {}",
    "TEXT",
    "TEXT ",
    "named_metrics.num_requests_waiting=2",
    "TEXT named_metrics.num_requests_waiting=1=2",
    `TEXT ${"x".repeat(3_000)}`,
  ])("says nothing when it is %s", (text, { expect }) => {
    expect(parseLoadHeader(text)).toBeNull();
  });
});

describe("the load of others on a shard", () => {
  const capacity = { concurrentRequestsMax: 64, kvTokensMax: 100_000 };
  const own = { inFlight: 4, kvTokens: 10_000 };
  const full = { running: 10, waiting: 2, kvShare: 0.5 };

  it("is what its engine has beyond the cell's own", ({ expect }) => {
    const foreign = noteLoad(null, full, own, capacity, 0);
    expect(foreign).toEqual({ atMs: 0, inFlight: 8, kvTokens: 40_000 });
    const less = noteLoad(null, { running: 0, waiting: 0, kvShare: 0 }, own, capacity, 0);
    expect(foreignAt(less, 0)).toMatchObject({ inFlight: 0, kvTokens: 0 });
  });

  it("is forgotten after 5 s; the shard is trusted less after 30 s, and never not at all", ({
    expect,
  }) => {
    const foreign = noteLoad(null, full, own, capacity, 0);
    expect(foreignAt(foreign, 5_000).inFlight).toBe(8);
    expect(foreignAt(foreign, 5_001)).toEqual({ inFlight: 0, kvTokens: 0 });
    expect([30_000, 30_001, 1e12].map((nowMs) => reportWeight(foreign, nowMs))).toEqual([
      1, 0.3, 0.3,
    ]);
    expect(reportWeight(null, 1e12)).toBe(1);
  });

  it("keeps of a report what the next one leaves out, while it is fresh", ({ expect }) => {
    const before = noteLoad(null, full, own, capacity, 0);
    const header = { running: null, waiting: 1, kvShare: 0.3 };
    expect(noteLoad(before, header, own, capacity, 1_000)).toEqual({
      atMs: 1_000,
      inFlight: 8,
      kvTokens: 20_000,
    });
    expect(noteLoad(before, header, own, capacity, 6_000).inFlight).toBe(0);
  });
});
