import type { MetricsFamily } from "../config/engine-abilities.ts";

/** What an engine says of itself; null where it does not say. */
export interface EngineLoad {
  /** Sequences in its batch. */
  readonly running: number | null;
  /** Requests in its queue. */
  readonly waiting: number | null;
  /** Share of its KV memory in use, 0..1. */
  readonly kvShare: number | null;
}

type Field = keyof EngineLoad;

/** Longest text that is looked at, characters: vLLM's is about 60,000. */
export const metricsCharactersMax = 1_000_000;
/** Longest line, and longest header, that is looked at. */
const lineCharactersMax = 2_048;
/** Above this a count is no count of requests. */
const countMax = 1_000_000;

/**
 * Gauges by engine: vLLM (docs.vllm.ai, production metrics, 2025; the second KV name is that of versions before 0.10),
 * SGLang (docs.sglang.ai, production metrics, 2025), llama.cpp (its server's README, `--metrics`, 2025; the KV name is that
 * of versions that tell it) and TGI (huggingface.co, text-generation-inference, metrics, 2025).
 */
const gauges: ReadonlyMap<string, readonly [MetricsFamily, Field]> = new Map([
  ["vllm:num_requests_running", ["vllm", "running"]],
  ["vllm:num_requests_waiting", ["vllm", "waiting"]],
  ["vllm:kv_cache_usage_perc", ["vllm", "kvShare"]],
  ["vllm:gpu_cache_usage_perc", ["vllm", "kvShare"]],
  ["sglang:num_running_reqs", ["sglang", "running"]],
  ["sglang:num_queue_reqs", ["sglang", "waiting"]],
  ["sglang:token_usage", ["sglang", "kvShare"]],
  ["llamacpp:requests_processing", ["llamacpp", "running"]],
  ["llamacpp:requests_deferred", ["llamacpp", "waiting"]],
  ["llamacpp:kv_cache_usage_ratio", ["llamacpp", "kvShare"]],
  ["tgi_batch_current_size", ["tgi", "running"]],
  ["tgi_queue_size", ["tgi", "waiting"]],
]);

/** What the lines of all of them begin with. */
const prefixes = ["vllm:", "sglang:", "llamacpp:", "tgi_"] as const;

/** A sample of the Prometheus text format: name, labels, value, and a time that is ignored. */
const sample = /^([a-z]+[:_][a-z_]+)(?:\{[^{}]*\})?[ \t]+(\S+)(?:[ \t]+-?\d+)?[ \t]*\r?$/;

interface Sums {
  readonly total: Record<Field, number>;
  readonly samples: Record<Field, number>;
}

function add({ samples, total }: Sums, field: Field, text: string): void {
  // Number("") is 0, and 0x10 is no sample.
  if (!/^[+]?\d+(?:\.\d*)?(?:e[+-]?\d+)?$/i.test(text)) return;
  const value = Number(text);
  const most = field === "kvShare" ? 1 : countMax;
  // A share slightly above 1 is one of rounding; anything else out of range is no measurement.
  if (!(value <= most * 1.01)) return;
  total[field] += Math.min(most, value);
  samples[field] += 1;
}

function loadOf({ samples, total }: Sums): EngineLoad | null {
  const { kvShare, running, waiting } = samples;
  if (kvShare + running + waiting === 0) return null;
  return {
    running: running === 0 ? null : Math.min(countMax, total.running),
    waiting: waiting === 0 ? null : Math.min(countMax, total.waiting),
    kvShare: kvShare === 0 ? null : total.kvShare / kvShare,
  };
}

function noSums(): Sums {
  return {
    total: { running: 0, waiting: 0, kvShare: 0 },
    samples: { running: 0, waiting: 0, kvShare: 0 },
  };
}

/** Calls `found` with each known gauge of the text, until it returns false. */
function eachGauge(
  text: string,
  found: (family: MetricsFamily, field: Field, value: string) => boolean,
): void {
  if (text.length > metricsCharactersMax) return;
  for (let from = 0; from < text.length;) {
    const end = text.indexOf("\n", from);
    const to = end === -1 ? text.length : end;
    const isWanted = prefixes.some((prefix) => text.startsWith(prefix, from));
    if (isWanted && to - from <= lineCharactersMax) {
      const [, name = "", value = ""] = sample.exec(text.slice(from, to)) ?? [];
      const gauge = gauges.get(name);
      if (gauge !== undefined && !found(...gauge, value)) return;
    }
    from = to + 1;
  }
}

/**
 * The load in an engine's `/metrics`: counts of all its replicas together, KV memory on average. Null when there is nothing
 * of it, or the text is too long. Whatever the text, nothing is thrown and every number is finite and in range.
 */
export function parseEngineMetrics(text: string): EngineLoad | null {
  const sums = noSums();
  eachGauge(text, (_family, field, value) => {
    add(sums, field, value);
    return true;
  });
  return loadOf(sums);
}

/** Whose names the first usable gauge of an engine's `/metrics` has, or null when there is none. */
export function metricsFamilyOf(text: string): MetricsFamily | null {
  let first: MetricsFamily | null = null;
  eachGauge(text, (family, field, value) => {
    const sums = noSums();
    add(sums, field, value);
    if (loadOf(sums) === null) return true;
    first = family;
    return false;
  });
  return first;
}

const headerFields: ReadonlyMap<string, Field> = new Map<string, Field>([
  ["named_metrics.num_requests_running", "running"],
  ["named_metrics.num_requests_waiting", "waiting"],
  ["named_metrics.kv_cache_usage_perc", "kvShare"],
]);

/** What a request asks for the header with, and the header (ORCA; vLLM pull request 24905). */
export const loadHeader = {
  request: "endpoint-load-metrics-format",
  format: "TEXT",
  response: "endpoint-load-metrics",
} as const;

/** The load in an answer's header `TEXT name=value, …`, or null. */
export function parseLoadHeader(text: string): EngineLoad | null {
  if (text.length > lineCharactersMax || !text.startsWith("TEXT ")) return null;
  const sums = noSums();
  const seen = new Set<Field>();
  for (const part of text.slice("TEXT ".length).split(",")) {
    const [name = "", value = "", ...rest] = part.trim().split("=");
    const field = headerFields.get(name);
    if (field === undefined || rest.length > 0 || seen.has(field)) continue;
    seen.add(field);
    add(sums, field, value);
  }
  return loadOf(sums);
}
