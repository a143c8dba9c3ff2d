import { priorities } from "#shared/config/topology.ts";
import { cellFigures } from "./cell-figures.ts";
import type { ClassReport, RunReport } from "./measure.ts";

/** A mean over seeds with half the width of its 95 % interval; the half is 0 with one seed. */
export interface Estimate {
  readonly mean: number;
  readonly half95: number;
}

/** Student's t, two-sided 95 %, by degrees of freedom 1…30; 1.96 beyond. */
const student = [
  12.71, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.16, 2.145,
  2.131, 2.12, 2.11, 2.101, 2.093, 2.086, 2.08, 2.074, 2.069, 2.064, 2.06, 2.056, 2.052, 2.048,
  2.045, 2.042,
] as const;

/** Mean and interval of some values; 0 without any. */
export function estimate(values: readonly number[]): Estimate {
  const count = values.length;
  if (count === 0) return { mean: 0, half95: 0 };
  const mean = values.reduce((sum, value) => sum + value, 0) / count;
  if (count === 1) return { mean, half95: 0 };
  const variance = values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (count - 1);
  return { mean, half95: (student[count - 2] ?? 1.96) * Math.sqrt(variance / count) };
}

/** Figures that are compared over seeds; null: a run has none. Those of classes are added for each class that has requests. */
const figures: Readonly<Record<string, (report: RunReport) => number | null>> = {
  ttftP50Seconds: ({ ttftSeconds }) => ttftSeconds.p50,
  ttftP95Seconds: ({ ttftSeconds }) => ttftSeconds.p95,
  ttftP99Seconds: ({ ttftSeconds }) => ttftSeconds.p99,
  itlP50Ms: ({ itlSeconds }) => itlSeconds.p50 * 1_000,
  itlP95Ms: ({ itlSeconds }) => itlSeconds.p95 * 1_000,
  itlP99Ms: ({ itlSeconds }) => itlSeconds.p99 * 1_000,
  goodputPerSecond: ({ goodputPerSecond }) => goodputPerSecond,
  goodRatio: ({ goodRatio }) => goodRatio,
  goodTokensPerSecond: ({ goodTokensPerSecond }) => goodTokensPerSecond,
  cachedMTokens: ({ cachedTokens }) => cachedTokens / 1e6,
  cachedShare: ({ cachedTokens, promptTokens }) => cachedTokens / Math.max(1, promptTokens),
  rePrefilledMTokens: ({ rePrefilledTokens }) => rePrefilledTokens / 1e6,
  preemptions: ({ preemptions }) => preemptions,
  shed: ({ shed }) => shed,
  failed: ({ failed }) => failed,
  jain: ({ jain }) => jain,
  usdPerMGoodTokens: ({ costPerMillionGoodTokensUsd }) => costPerMillionGoodTokensUsd,
  busyShare: ({ busyShare }) => busyShare,
  othersGoodRatioInFlood: ({ othersGoodRatioInFlood }) => othersGoodRatioInFlood,
  othersGoodRatioOutOfFlood: ({ flood }) => flood?.othersOutside ?? null,
  othersCriticalGoodInFlood: ({ flood }) => flood?.others.critical ?? null,
  othersInteractiveGoodInFlood: ({ flood }) => flood?.others.interactive ?? null,
  othersStandardGoodInFlood: ({ flood }) => flood?.others.standard ?? null,
  othersBatchGoodInFlood: ({ flood }) => flood?.others.batch ?? null,
  floodsOwnGoodRatio: ({ flood }) => flood?.own ?? null,
  detectionSeconds: ({ recovery }) => recovery?.detectionSeconds ?? null,
  interactiveErrorsAfterDetection: ({ recovery }) =>
    recovery?.interactiveErrorRatioAfterDetection ?? null,
  goodRatioBeforeFault: ({ recovery }) => recovery?.goodRatioBefore ?? null,
  goodRatioDuringFault: ({ recovery }) => recovery?.goodRatioDuring ?? null,
  recoverySeconds: ({ recovery }) => recovery?.recoverySeconds ?? null,
  ...cellFigures,
};

const classFigures: Readonly<Record<string, (report: ClassReport) => number>> = {
  WorkShare: ({ workShare }) => workShare,
  TtftP50Seconds: ({ ttftSeconds }) => ttftSeconds.p50,
  TtftP95Seconds: ({ ttftSeconds }) => ttftSeconds.p95,
  TtftP99Seconds: ({ ttftSeconds }) => ttftSeconds.p99,
  ItlP50Ms: ({ itlSeconds }) => itlSeconds.p50 * 1_000,
  ItlP95Ms: ({ itlSeconds }) => itlSeconds.p95 * 1_000,
  ItlP99Ms: ({ itlSeconds }) => itlSeconds.p99 * 1_000,
  Success: ({ successRatio }) => successRatio,
  GoodRatio: ({ goodRatio }) => goodRatio,
  Shed: ({ shed }) => shed,
};

/** Every figure of a run; a class's only where several classes are. */
function figuresOf(run: RunReport): readonly (readonly [string, number])[] {
  const whole = Object.entries(figures).flatMap(([name, read]) => {
    const value = read(run);
    return value === null ? [] : [[name, value] as const];
  });
  const present = priorities.filter((name) => run.classes[name].requests > 0);
  if (present.length < 2) return whole;
  const byClass = present.flatMap((name) =>
    Object.entries(classFigures).map(
      ([figure, read]) => [`${name}${figure}`, read(run.classes[name])] as const,
    ),
  );
  return [...whole, ...byClass];
}

/** All runs of one policy. */
export interface PolicySummary {
  readonly policy: string;
  readonly seeds: number;
  readonly figures: Readonly<Record<string, Estimate>>;
}

/** Sums up the runs of each policy, in the order in which they came. A figure counts the runs that have it. */
export function summarise(runs: readonly RunReport[]): readonly PolicySummary[] {
  return [...new Set(runs.map(({ policy }) => policy))].map((policy) => {
    const own = runs.filter((run) => run.policy === policy);
    const values = new Map<string, number[]>();
    for (const run of own)
      for (const [name, value] of figuresOf(run))
        values.set(name, [...(values.get(name) ?? []), value]);
    const estimates = [...values].map(([name, of]) => [name, estimate(of)] as const);
    return { policy, seeds: own.length, figures: Object.fromEntries(estimates) };
  });
}

function rounded(value: number): string {
  return Math.abs(value) >= 100 ? value.toFixed(0) : Number(value.toPrecision(3)).toString();
}

/** A table in Markdown: a row for each figure, a column for each policy. */
export function formatSummary(summaries: readonly PolicySummary[]): string {
  const names = [...new Set(summaries.flatMap((one) => Object.keys(one.figures)))];
  const cell = (found: Estimate | undefined): string => {
    if (found === undefined) return "-";
    return found.half95 === 0
      ? rounded(found.mean)
      : `${rounded(found.mean)} ±${rounded(found.half95)}`;
  };
  const rows = [
    ["figure", ...summaries.map(({ policy }) => policy)],
    ["---", ...summaries.map(() => "---")],
    ...names.map((name) => [name, ...summaries.map((one) => cell(one.figures[name]))]),
  ];
  const widths = (rows[0] ?? []).map((_, column) =>
    Math.max(...rows.map((row) => row[column]?.length ?? 0)),
  );
  return rows
    .map((row) => `| ${row.map((text, column) => text.padEnd(widths[column] ?? 0)).join(" | ")} |`)
    .join("\n");
}
