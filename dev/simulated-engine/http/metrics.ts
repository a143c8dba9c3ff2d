/** Counters and histograms under vLLM's names, in Prometheus' text format. */
import type { EngineCounters } from "../model/batch-engine.ts";

/** Upper bounds in seconds; vLLM's buckets for request latencies, without the longest. */
const latencyBounds = [
  0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80,
];

const histogramNames = [
  "time_to_first_token_seconds",
  "inter_token_latency_seconds",
  "e2e_request_latency_seconds",
  "request_queue_time_seconds",
  "request_prefill_time_seconds",
  "request_decode_time_seconds",
] as const;

type HistogramName = (typeof histogramNames)[number];
type FinishedReason = "stop" | "length" | "abort";

export interface EngineMetrics {
  observe(name: HistogramName, seconds: number): void;
  countPrompt(tokens: number): void;
  countGenerated(tokens: number): void;
  countFinished(reason: FinishedReason): void;
  countRejected(): void;
  render(counters: EngineCounters): string;
}

interface Histogram {
  readonly counts: number[];
  sum: number;
  total: number;
}

/** Makes empty metrics with vLLM's labels `model_name` and `engine`. */
export function createMetrics(model: string): EngineMetrics {
  const labels = `engine="0",model_name="${model}"`;
  const histograms = new Map<HistogramName, Histogram>(
    histogramNames.map((name) => [name, { counts: latencyBounds.map(() => 0), sum: 0, total: 0 }]),
  );
  const finished: Record<FinishedReason, number> = { stop: 0, length: 0, abort: 0 };
  let promptTokens = 0;
  let generationTokens = 0;
  let rejections = 0;

  function plain(kind: "gauge" | "counter", name: string, value: number): string[] {
    const sample = kind === "counter" ? `${name}_total` : name;
    return [`# TYPE vllm:${sample} ${kind}`, `vllm:${sample}{${labels}} ${value}`];
  }
  function renderHistogram(name: HistogramName, histogram: Histogram): string[] {
    const lines = [`# TYPE vllm:${name} histogram`];
    let below = 0;
    for (const [at, bound] of latencyBounds.entries()) {
      below += histogram.counts[at] ?? 0;
      lines.push(`vllm:${name}_bucket{${labels},le="${bound}"} ${below}`);
    }
    lines.push(`vllm:${name}_bucket{${labels},le="+Inf"} ${histogram.total}`);
    lines.push(
      `vllm:${name}_sum{${labels}} ${histogram.sum}`,
      `vllm:${name}_count{${labels}} ${histogram.total}`,
    );
    return lines;
  }

  return {
    observe(name, seconds) {
      const histogram = histograms.get(name);
      if (histogram === undefined) return;
      const at = latencyBounds.findIndex((bound) => seconds <= bound);
      if (at >= 0) histogram.counts[at] = (histogram.counts[at] ?? 0) + 1;
      histogram.sum += seconds;
      histogram.total += 1;
    },
    countPrompt: (tokens) => void (promptTokens += tokens),
    countGenerated: (tokens) => void (generationTokens += tokens),
    countFinished: (reason) => void (finished[reason] += 1),
    countRejected: () => void (rejections += 1),
    render(counters) {
      const lines = [
        ...plain("gauge", "num_requests_running", counters.running),
        ...plain("gauge", "num_requests_waiting", counters.waiting),
        ...plain("gauge", "kv_cache_usage_perc", counters.kvUsage),
        ...plain("counter", "prefix_cache_queries", counters.prefixQueries),
        ...plain("counter", "prefix_cache_hits", counters.prefixHits),
        ...plain("counter", "num_preemptions", counters.preemptions),
        ...plain("counter", "prompt_tokens", promptTokens),
        ...plain("counter", "generation_tokens", generationTokens),
        ...plain("counter", "admission_rejections", rejections),
        "# TYPE vllm:request_success_total counter",
      ];
      for (const [reason, value] of Object.entries(finished))
        lines.push(`vllm:request_success_total{${labels},finished_reason="${reason}"} ${value}`);
      for (const [name, histogram] of histograms) lines.push(...renderHistogram(name, histogram));
      return `${lines.join("\n")}\n`;
    },
  };
}
