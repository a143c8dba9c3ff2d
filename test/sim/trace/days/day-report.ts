import { priorities } from "#shared/config/topology.ts";
import type { Priority } from "#shared/config/topology.ts";
import { estimate } from "../summary.ts";
import type { Estimate } from "../summary.ts";
import type { ClassFlow, DayRun } from "./day-run.ts";
import { createLatencyHistogram } from "./latency-histogram.ts";

/** What a class got: shares are of what was offered. */
interface ClassFigures {
  readonly ttftP50Seconds: number;
  readonly ttftP99Seconds: number;
  /** Shed, or not answered within the promised time to first token. */
  readonly sloMissShare: number;
  readonly shedShare: number;
}

/** What one scaler showed with one seed, all regions together; names are fixed by docs/simulation.md. */
export interface DayReport {
  readonly scaler: string;
  readonly seed: number;
  readonly usdPerMGoodTokens: number;
  readonly usdPerHour: number;
  /** Share of the paid time in which replicas did nothing, starts included. */
  readonly idleShare: number;
  readonly coldWaitShare: number;
  readonly coldWaitP99Seconds: number;
  readonly replicasMean: number;
  readonly replicasMost: number;
  readonly reclaimsPerDay: number;
  readonly sloMissShare: number;
  readonly shedShare: number;
  readonly ttftP99Seconds: number;
  readonly classes: Readonly<Record<Priority, ClassFigures>>;
  /** How often the plan had which reason. */
  readonly reasons: Readonly<Record<string, number>>;
}

function sum<T>(of: readonly T[], read: (one: T) => number): number {
  return of.reduce((total, one) => total + read(one), 0);
}

/** Amounts of the flow are sums of many fractions: less than a thousandth of a millionth is a rounding error. */
const roundingShare = 1e-9;

function share(part: number, whole: number): number {
  const value = whole > 0 ? part / whole : 0;
  return value < roundingShare ? 0 : value;
}

function classFigures(flows: readonly ClassFlow[]): ClassFigures {
  const ttft = createLatencyHistogram();
  for (const flow of flows) ttft.merge(flow.ttft);
  const offered = sum(flows, (flow) => flow.offered);
  return {
    ttftP50Seconds: ttft.quantile(0.5),
    ttftP99Seconds: ttft.quantile(0.99),
    sloMissShare: share(
      sum(flows, (flow) => flow.served - flow.good + flow.shed),
      offered,
    ),
    shedShare: share(
      sum(flows, (flow) => flow.shed),
      offered,
    ),
  };
}

/** Sums the regions' runs up. `outputTokensMean`: tokens of a good answer. */
export function reportDays(
  scaler: string,
  seed: number,
  runs: readonly DayRun[],
  outputTokensMean: number,
): DayReport {
  const flows = runs.flatMap(({ classes }) => Object.values(classes));
  const cold = createLatencyHistogram();
  for (const { coldWaits } of runs) cold.merge(coldWaits);
  const good = sum(flows, (flow) => flow.good);
  const hours = runs[0]?.hours ?? 1;
  const held = new Map<number, number>();
  for (const { curve } of runs)
    for (const point of curve) held.set(point.atMs, (held.get(point.atMs) ?? 0) + point.held);
  const [critical, interactive, standard, batch] = priorities;
  const byClass = (priority: Priority): ClassFigures =>
    classFigures(runs.map(({ classes }) => classes[priority]));
  const { shedShare, sloMissShare, ttftP99Seconds } = classFigures(flows);
  const reasons: Record<string, number> = {};
  for (const run of runs)
    for (const [reason, count] of Object.entries(run.reasons))
      reasons[reason] = (reasons[reason] ?? 0) + count;
  return {
    scaler,
    seed,
    usdPerMGoodTokens:
      good > 0 ? (sum(runs, ({ usd }) => usd) / (good * outputTokensMean)) * 1e6 : 0,
    usdPerHour: sum(runs, ({ usd }) => usd) / hours,
    idleShare:
      1 -
      share(
        sum(runs, (run) => run.busyUnitSeconds),
        sum(runs, (run) => run.unitSeconds),
      ),
    coldWaitShare: share(
      cold.total(),
      sum(flows, (flow) => flow.offered),
    ),
    coldWaitP99Seconds: cold.quantile(0.99),
    replicasMean: sum(runs, ({ replicaSeconds }) => replicaSeconds) / (hours * 3_600),
    replicasMost: Math.max(0, ...held.values()),
    reclaimsPerDay: (24 * sum(runs, ({ reclaims }) => reclaims)) / hours,
    sloMissShare,
    shedShare,
    ttftP99Seconds,
    classes: {
      [critical]: byClass(critical),
      [interactive]: byClass(interactive),
      [standard]: byClass(standard),
      [batch]: byClass(batch),
    },
    reasons,
  };
}

const figures: Readonly<Record<string, (report: DayReport) => number>> = {
  usdPerMGoodTokens: (report) => report.usdPerMGoodTokens,
  usdPerHour: (report) => report.usdPerHour,
  idleShare: (report) => report.idleShare,
  replicasMean: (report) => report.replicasMean,
  replicasMost: (report) => report.replicasMost,
  reclaimsPerDay: (report) => report.reclaimsPerDay,
  coldWaitShare: (report) => report.coldWaitShare,
  coldWaitP99Seconds: (report) => report.coldWaitP99Seconds,
  sloMissShare: (report) => report.sloMissShare,
  shedShare: (report) => report.shedShare,
  ttftP99Seconds: (report) => report.ttftP99Seconds,
  ...Object.fromEntries(
    priorities.flatMap((priority) => [
      [`${priority}TtftP99Seconds`, ({ classes }: DayReport) => classes[priority].ttftP99Seconds],
      [`${priority}SloMissShare`, ({ classes }: DayReport) => classes[priority].sloMissShare],
    ]),
  ),
};

/** Every figure of a scaler with its 95 % interval over the seeds. */
export interface ScalerSummary {
  /** The scaler's name; called so for the table that policies have too. */
  readonly policy: string;
  readonly seeds: number;
  readonly figures: Readonly<Record<string, Estimate>>;
}

/** Sums the seeds of each scaler up, in the order in which they came. */
export function summariseDays(reports: readonly DayReport[]): readonly ScalerSummary[] {
  return [...new Set(reports.map(({ scaler }) => scaler))].map((policy) => {
    const own = reports.filter(({ scaler }) => scaler === policy);
    const estimates = Object.entries(figures).map(
      ([name, read]) => [name, estimate(own.map(read))] as const,
    );
    return { policy, seeds: own.length, figures: Object.fromEntries(estimates) };
  });
}
