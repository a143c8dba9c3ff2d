import { basename, resolve } from "node:path";
import { parseArgs } from "node:util";
import { answerCapacity, daysOf, factorMost } from "#dev/capacity/capacity-answer.ts";
import type { CapacityAnswer, FactorAnswer } from "#dev/capacity/capacity-answer.ts";
import { readDays } from "#dev/capacity/demand-days.ts";
import { readElasticFleet } from "#dev/capacity/elastic-fleet.ts";
import { readTrace } from "#dev/capacity/request-trace.ts";
import { UsageError } from "#dev/capacity/usage-error.ts";
import { formatTable } from "../supervisor/summary.ts";
import type { CommandIo } from "./receipts.ts";

export const planUsage = `meridian plan --trace FILE --fleet FILE [--days FILE]
  The capacity answer at 1, 3, 5 and 10 times the demand: shards per region and purchase class, cost, what breaks first.
  --trace: requests with lengths and times (CSV); --days: rates a 10-minute step, instead of the trace's times;
  --fleet: regions, offers, prices and cold starts (docs/capacity.md).`;

/** Mix of the work: critical 15 %, interactive 25 %, standard 40 %, batch 20 %, as in the overload runs of docs/simulation.md. */
const shares = { critical: 0.15, interactive: 0.25, standard: 0.4, batch: 0.2 };
/** Hours of a month: a twelfth of 365 days. */
const hoursPerMonth = 730;

interface PlanOptions {
  readonly trace: string;
  readonly fleet: string;
  readonly days: string | null;
}

function readPlanOptions(args: readonly string[]): PlanOptions {
  const text = { type: "string" } as const;
  const parse = (): Record<string, string | undefined> => {
    try {
      return parseArgs({ args: [...args], options: { trace: text, fleet: text, days: text } })
        .values;
    } catch (error) {
      throw new UsageError(error instanceof Error ? error.message : "options: unreadable");
    }
  };
  const { days, fleet, trace } = parse();
  for (const [name, value] of [
    ["--trace", trace],
    ["--fleet", fleet],
  ] as const)
    if (value === undefined || value === "")
      throw new UsageError(`${name}: got nothing, wanted a file`);
  return { trace: trace ?? "", fleet: fleet ?? "", days: days ?? null };
}

function money(value: number): string {
  return value.toFixed(value < 1_000 ? 2 : 0);
}

function number(value: number): string {
  return value >= 100 ? value.toFixed(0) : `${Number(value.toPrecision(3))}`;
}

function factorLines({
  factor,
  regions,
  requestsPerSecondMean,
  requestsPerSecondPeak,
}: FactorAnswer): readonly string[] {
  const rows = regions.flatMap(({ plan }) => {
    const { peak, region, steps, usdPerHourMean } = plan;
    const held = Object.entries(peak.replicas).map(([name, count]) => {
      const mean = steps.reduce((sum, { replicas }) => sum + (replicas[name] ?? 0), 0);
      return [region.name, name, `${count}`, (mean / steps.length).toFixed(1), "", "", ""];
    });
    const total = steps.reduce(
      (sum, { replicas }) => sum + Object.values(replicas).reduce((all, one) => all + one, 0),
      0,
    );
    return [
      ...held,
      [
        region.name,
        "all",
        `${Object.values(peak.replicas).reduce((sum, one) => sum + one, 0)}`,
        (total / steps.length).toFixed(1),
        money(peak.usdPerHour),
        money(usdPerHourMean),
        money(usdPerHourMean * hoursPerMonth),
      ],
    ];
  });
  const broken = regions.flatMap(({ limits, plan }) =>
    limits
      .filter(({ use }) => use > 1)
      .map(({ detail, name }) => `  breaks in ${plan.region.name}: ${name}: ${detail}`),
  );
  return [
    "",
    `${factor}x: ${number(requestsPerSecondMean)} requests a second in the mean, ${number(requestsPerSecondPeak)} in the busiest ten minutes`,
    ...formatTable([
      ["REGION", "CLASS", "SHARDS AT PEAK", "MEAN", "USD/HOUR AT PEAK", "MEAN", "USD/MONTH"],
      ...rows,
    ]).map((line) => `  ${line}`),
    ...(broken.length === 0 ? ["  breaks: nothing"] : broken),
  ];
}

function report(answer: CapacityAnswer): readonly string[] {
  const { breakpoints, factors, shape, speeds } = answer;
  const [first] = breakpoints;
  return [
    `A request has ${number(shape.inputTokensMean)} + ${number(shape.outputTokensMean)} tokens in the mean. Estimated speed of a replica:`,
    ...formatTable([
      ["CLASS", "KIND", "GPU", "REQUESTS/S", "USD/HOUR", "AS OF"],
      ...speeds.map(({ offer, requestsPerSecond }) => [
        offer.name,
        offer.kind,
        `${offer.profile.title}${offer.profile.isScaled ? " (scaled, not measured)" : ""}`,
        number(requestsPerSecond),
        money(offer.usdPerHour),
        offer.asOf,
      ]),
    ]).map((line) => `  ${line}`),
    ...factors.flatMap(factorLines),
    "",
    first === undefined || first.factor === null
      ? `First to break: nothing up to ${factorMost}x.`
      : `First to break: ${first.name} in ${first.region} at ${number(first.factor)}x: ${first.detail}`,
    ...formatTable(
      breakpoints.map(({ factor, name, region }) => [
        region,
        name,
        factor === null ? `not up to ${factorMost}x` : `${number(factor)}x`,
      ]),
    ).map((line) => `  ${line}`),
  ];
}

/** `plan`: 0 with the answer, 2 with what is wrong with an option or a file. */
export function runPlanCommand(args: readonly string[], io: CommandIo): number {
  try {
    const options = readPlanOptions(args);
    const path = (file: string): string => resolve(io.folder, file);
    const fleet = readElasticFleet(path(options.fleet));
    const trace = readTrace(path(options.trace));
    const days =
      options.days === null ? daysOf(options.trace, trace) : readDays(path(options.days));
    const { requests } = trace;
    io.out(
      `${basename(options.trace)}${options.days === null ? "" : `, rates of ${basename(options.days)}`}, ${basename(options.fleet)}: ${fleet.model}`,
    );
    for (const line of report(answerCapacity({ requests, days, fleet, shares }))) io.out(line);
    return 0;
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    io.error(error.message);
    return 2;
  }
}
