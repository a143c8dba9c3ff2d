import { mkdirSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { demandStepSeconds, readDays } from "#dev/capacity/demand-days.ts";
import type { DemandDays } from "#dev/capacity/demand-days.ts";
import { readElasticFleet } from "#dev/capacity/elastic-fleet.ts";
import { offerSpeeds, shapeOf } from "#dev/capacity/request-shape.ts";
import { readTrace } from "#dev/capacity/request-trace.ts";
import { UsageError } from "#dev/capacity/usage-error.ts";
import { priorities } from "#shared/config/topology.ts";
import { backTest } from "#test/sim/forecast/back-test.ts";
import type { HorizonScore } from "#test/sim/forecast/back-test.ts";
import { barChart } from "../plots.ts";
import { formatSummary } from "../summary.ts";
import { checkHour } from "./check-hour.ts";
import type { HourCheck } from "./check-hour.ts";
import type { DayOptions } from "./day-options.ts";
import { reportDays, summariseDays } from "./day-report.ts";
import type { DayReport } from "./day-report.ts";
import { runDays } from "./day-run.ts";
import type { DayOffer, DayRun } from "./day-run.ts";
import { measureCurve } from "./engine-curve.ts";
import type { EngineCurve } from "./engine-curve.ts";
import { replicaChart } from "./replica-chart.ts";
import type { ChartLine } from "./replica-chart.ts";

const dayMs = 86_400_000;

function forecastTable(scores: readonly HorizonScore[]): string {
  const percent = (share: number): string =>
    Number.isFinite(share) ? `${(100 * share).toFixed(1)} %` : "-";
  const rows = scores.map(
    ({ covered, error, errorAsNow, steps }) =>
      `| ${(steps * demandStepSeconds) / 60} min | ${percent(error)} | ${percent(errorAsNow)} | ${percent(covered)} |`,
  );
  return [
    "| ahead | forecast's error | as now | within the 0.99 margin |",
    "|---|---|---|---|",
    ...rows,
  ].join("\n");
}

function hourTable({ flow, replayed, requests }: HourCheck): string {
  const shown = (value: number): string => Number(value.toPrecision(3)).toString();
  const rows = priorities.map((priority) => {
    const [one, other] = [flow[priority], replayed[priority]];
    const pair = (name: keyof typeof one): string => `${shown(one[name])} / ${shown(other[name])}`;
    return `| ${priority} | ${pair("ttftP50Seconds")} | ${pair("ttftP99Seconds")} | ${pair("sloMissShare")} | ${pair("shedShare")} |`;
  });
  return [
    `The hour as a flow / request by request (${requests} requests):`,
    "",
    "| class | TTFT P50, s | TTFT P99, s | missed | shed |",
    "|---|---|---|---|---|",
    ...rows,
  ].join("\n");
}

interface Setting {
  readonly options: DayOptions;
  readonly days: DemandDays;
  readonly offers: readonly DayOffer[];
  readonly curve: EngineCurve;
  readonly learnDays: number;
}

function runOf(
  setting: Setting,
  region: Parameters<typeof runDays>[0]["region"],
  scaler: string,
  seed: number,
  fromMs: number,
  untilMs: number,
): DayRun {
  const { curve, days, learnDays, offers, options } = setting;
  const { scale, shares } = options;
  return runDays({
    days,
    region,
    offers,
    curve,
    scaler,
    scale,
    shares,
    learnDays,
    seed,
    countFromMs: fromMs,
    countUntilMs: untilMs,
  });
}

/** Runs every scaler over the days with every seed, and writes and prints the report. @throws UsageError */
export function runSimulatedDays(options: DayOptions, print: (text: string) => void): void {
  const days = readDays(options.days);
  const fleet = readElasticFleet(options.fleet);
  const trace = readTrace(options.trace);
  const spanMs = days.rates.length * demandStepSeconds * 1_000;
  const learnDays = options.learnDays ?? Math.floor(spanMs / dayMs / 2);
  if (learnDays * dayMs >= spanMs)
    throw new UsageError(
      `--learn-days: got ${learnDays}, wanted fewer than the ${(spanMs / dayMs).toFixed(1)} days of the file`,
    );
  if (options.checkHour !== null && (options.checkHour + 1) * 3_600_000 > spanMs)
    throw new UsageError(
      `--check-hour: got ${options.checkHour}, wanted below ${Math.floor(spanMs / 3_600_000)}`,
    );
  const curves = new Map<string, EngineCurve>();
  const offers = offerSpeeds(trace.requests, fleet.offers).map((speed): DayOffer => {
    const { offer, requestsPerSecond, unitsPerReplica } = speed;
    const key = `${offer.profile.title}/${offer.concurrentRequestsMax}`;
    const curve = curves.get(key) ?? measureCurve(trace, offer, options.seed);
    curves.set(key, curve);
    return {
      offer,
      unitsPerReplica,
      estimatedPerSecond: requestsPerSecond,
      requestsPerSecond: curve.requestsPerSecond,
    };
  });
  const [curve] = curves.values();
  const [region] = fleet.regions;
  if (curve === undefined || region === undefined) throw new RangeError("fleet: got no offers");
  const setting: Setting = { options, days, offers, curve, learnDays };
  const { outputTokensMean } = shapeOf(trace.requests);
  const reports: DayReport[] = [];
  const lines: ChartLine[] = [];
  for (let seed = options.seed; seed < options.seed + options.seeds; seed += 1)
    for (const scaler of options.scalers) {
      const runs = fleet.regions.map((one) =>
        runOf(setting, one, scaler, seed, learnDays * dayMs, spanMs),
      );
      reports.push(reportDays(scaler, seed, runs, outputTokensMean));
      if (seed === options.seed) lines.push({ name: scaler, runs });
    }
  const learnt = Math.round((learnDays * dayMs) / (1_000 * demandStepSeconds));
  const forecast = backTest(days.rates, learnt, days.rates.length);
  const summary = summariseDays(reports);
  const workload = `${basename(options.days)} times ${options.scale}, requests of ${basename(options.trace)}, fleet ${basename(options.fleet)}; counted from day ${learnDays}; seeds ${options.seed}-${options.seed + options.seeds - 1}`;
  const speed = `A replica of ${fleet.offers[0]?.name ?? ""}: ${curve.requestsPerSecond.toFixed(2)} requests a second at most, measured request by request; the plan counts with ${(offers[0]?.estimatedPerSecond ?? 0).toFixed(2)}.`;
  const texts = [workload, speed, formatSummary(summary), forecastTable(forecast)];
  let check: HourCheck | null = null;
  if (options.checkHour !== null) {
    const hourMs = options.checkHour * 3_600_000;
    const run = runOf(
      setting,
      region,
      options.scalers[0] ?? "ours",
      options.seed,
      hourMs,
      hourMs + 3_600_000,
    );
    check = checkHour(run, hourMs, offers, trace, options.shares, options.seed);
    texts.push(hourTable(check));
  }
  const table = `${texts.join("\n\n")}\n`;
  if (options.out !== null) {
    mkdirSync(options.out, { recursive: true });
    writeFileSync(
      join(options.out, "report.json"),
      `${JSON.stringify({ workload, summary, forecast, check, runs: reports }, null, 2)}\n`,
    );
    writeFileSync(join(options.out, "report.md"), table);
    writeFileSync(
      join(options.out, "replicas.svg"),
      replicaChart("Replicas held; grey: demand", lines),
    );
    for (const [figure, title] of [
      ["usdPerMGoodTokens", "Cost of a million good tokens, USD"],
      ["criticalTtftP99Seconds", "Time to first token, P99, critical, seconds"],
      ["sloMissShare", "Answers that missed their promise, share"],
    ] as const) {
      const svg = barChart(title, figure, summary);
      if (svg !== null) writeFileSync(join(options.out, `${figure}.svg`), svg);
    }
  }
  print(table);
}
