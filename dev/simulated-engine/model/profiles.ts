/** Hardware profiles of the step-time model: one row per GPU and model of routing.md 14. */

/** Constants of `max(F, f*(x+b)) + g*b + kv*K + h`. Times are milliseconds of model time. */
export interface EngineProfile {
  readonly title: string;
  /** F: reading all weights once. */
  readonly weightReadMs: number;
  /** f: computing one token, prefill or decode. */
  readonly computeMsPerToken: number;
  /** g: per decoding sequence (sampling, attention set-up). */
  readonly hostMsPerSequence: number;
  /** kv: reading one resident KV token; KV bytes per token divided by memory bandwidth. */
  readonly kvReadMsPerToken: number;
  /** h: host time per step; with tensor parallelism also its synchronisation. */
  readonly hostMs: number;
  /** KV capacity in tokens. */
  readonly kvTokens: number;
  /** Inter-token times in ms at 1, 32 and 64 sequences that `g` and `h` were chosen for; routing.md 14. */
  readonly itlMs: readonly [number, number, number];
  readonly source: string;
  /** True where the row is scaled from another card and nobody has measured it. */
  readonly isScaled: boolean;
}

/**
 * Context per sequence, in tokens, at which `g` and `h` reproduce the inter-token columns.
 * The sources do not state theirs; 500 is about a ShareGPT turn.
 */
export const calibrationContextTokens = 500;

/** Bytes of KV per token: 8B 128 KiB, 70B 320 KiB (routing.md 14). */
const kvBytes = { small: 131_072, large: 327_680 } as const;

interface Row {
  readonly title: string;
  readonly f: number;
  readonly fMicros: number;
  readonly g: number;
  readonly h: number;
  readonly kvBytesPerToken: number;
  /** Memory bandwidth of all cards together, bytes per second: vendor data sheets. */
  readonly bandwidth: number;
  readonly kvTokens: number;
  readonly itlMs: readonly [number, number, number];
  readonly source: string;
  readonly isScaled?: true;
}

function profile(row: Row): EngineProfile {
  return {
    title: row.title,
    weightReadMs: row.f,
    computeMsPerToken: row.fMicros / 1_000,
    hostMsPerSequence: row.g,
    kvReadMsPerToken: (row.kvBytesPerToken / row.bandwidth) * 1_000,
    hostMs: row.h,
    kvTokens: row.kvTokens,
    itlMs: row.itlMs,
    source: row.source,
    isScaled: row.isScaled ?? false,
  };
}

/** Every profile that `--profile` accepts. F, f, KV tokens and inter-token times: routing.md 14; g and h are fitted to them. */
export const profiles = {
  "h100-8b": profile({
    title: "H100, 8B bf16",
    f: 8,
    fMicros: 28,
    g: 0.043,
    h: 1.94,
    kvBytesPerToken: kvBytes.small,
    bandwidth: 3.35e12,
    kvTokens: 420_000,
    itlMs: [10, 12, 14],
    source: "LLMServingSim tables (2,048 tokens = 59 ms)",
  }),
  "h200-8b": profile({
    title: "H200, 8B bf16",
    f: 5.6,
    fMicros: 28,
    g: 0.035,
    h: 2.4,
    kvBytesPerToken: kvBytes.small,
    bandwidth: 4.8e12,
    kvTokens: 850_000,
    itlMs: [8, 10, 11],
    source: "H100 scaled by 4.8/3.35 TB/s",
    isScaled: true,
  }),
  "a100-8b": profile({
    title: "A100-80, 8B bf16",
    f: 9.7,
    fMicros: 66,
    g: 0.048,
    h: 2.3,
    kvBytesPerToken: kvBytes.small,
    bandwidth: 2.039e12,
    kvTokens: 400_000,
    itlMs: [12, 15, 17],
    source: "Vidur (4,096 tokens = 274 ms)",
  }),
  "a6000-8b": profile({
    title: "A6000, 8B bf16",
    f: 23.4,
    fMicros: 170,
    g: 0.01,
    h: 2.5,
    kvBytesPerToken: kvBytes.small,
    bandwidth: 0.768e12,
    kvTokens: 200_000,
    itlMs: [26, 29, 32],
    source: "routing.md 14",
  }),
  "a10g-8b": profile({
    title: "A10G 24 GB, 8B",
    f: 28,
    fMicros: 300,
    g: 0.066,
    h: 2.8,
    kvBytesPerToken: kvBytes.small,
    bandwidth: 0.6e12,
    kvTokens: 30_000,
    itlMs: [31, 36, 42],
    source: "scaled to 600 GB/s and 70 TFLOPS",
    isScaled: true,
  }),
  "l4-8b": profile({
    title: "L4 24 GB, 8B",
    f: 55,
    fMicros: 350,
    g: 0.035,
    h: 3.7,
    kvBytesPerToken: kvBytes.small,
    bandwidth: 0.3e12,
    kvTokens: 30_000,
    itlMs: [59, 66, 75],
    source: "scaled to 300 GB/s",
    isScaled: true,
  }),
  "4xh100-70b": profile({
    title: "4xH100, 70B",
    f: 19,
    fMicros: 73,
    g: 0.328,
    h: 9.6,
    kvBytesPerToken: kvBytes.large,
    bandwidth: 4 * 3.35e12,
    kvTokens: 420_000,
    itlMs: [29, 37, 52],
    source: "LLMServingSim; inter-token times Splitwise",
  }),
  "8xh100-70b": profile({
    title: "8xH100, 70B",
    f: 11,
    fMicros: 40,
    g: 0.3,
    h: 18.7,
    kvBytesPerToken: kvBytes.large,
    bandwidth: 8 * 3.35e12,
    kvTokens: 1_300_000,
    itlMs: [30, 39, 50],
    source: "Splitwise (8,192 tokens = 845 ms)",
  }),
  "4xa100-70b": profile({
    title: "4xA100, 70B",
    f: 38,
    fMicros: 230,
    g: 0.41,
    h: 3.6,
    kvBytesPerToken: kvBytes.large,
    bandwidth: 4 * 2.039e12,
    kvTokens: 420_000,
    itlMs: [42, 52, 73],
    source: "Splitwise (2023 engine)",
  }),
  "8xa100-70b": profile({
    title: "8xA100, 70B",
    f: 38,
    fMicros: 150,
    g: 0.41,
    h: 4.6,
    kvBytesPerToken: kvBytes.large,
    bandwidth: 8 * 2.039e12,
    kvTokens: 1_300_000,
    itlMs: [43, 53, 72],
    source: "Splitwise (2023 engine)",
  }),
  /** No hardware: about 1 ms a step, so that tests are quick. */
  "cpu-test": profile({
    title: "no hardware, for tests",
    f: 0.8,
    fMicros: 0.4,
    g: 0.001,
    h: 0.2,
    kvBytesPerToken: kvBytes.small,
    bandwidth: 1e15,
    kvTokens: 420_000,
    itlMs: [1, 1.03, 1.07],
    source: "chosen",
  }),
} as const satisfies Record<string, EngineProfile>;

/** A name that `--profile` accepts. */
export type ProfileName = keyof typeof profiles;

/** Whether a string names a profile. */
export function isProfileName(name: string): name is ProfileName {
  return Object.hasOwn(profiles, name);
}
