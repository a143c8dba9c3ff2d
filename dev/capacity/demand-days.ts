import { readCsv } from "./csv-file.ts";
import { UsageError } from "./usage-error.ts";

/** Seconds of one step: what the forecast's season counts. */
export const demandStepSeconds = 600;

/** Demand over days: one rate a step. */
export interface DemandDays {
  /** Requests per second, mean of the step; 0 where the file has none. */
  readonly rates: readonly number[];
  /** Variance of the requests in a time / their mean (index of dispersion): 1 is Poisson. */
  readonly dispersion: readonly number[];
}

/** Dispersion where the file does not tell the variation of its clients: the median of ServeGen's `m_large`. */
const usualDispersion = 8;
/** Beyond this a step is taken as this bursty: the formula holds for many arrivals of each client, which rare ones do not have. */
const dispersionMax = 64;

/**
 * Reads rates, one a 10-minute step: CSV with `t_s` and `rate_rps`, and with `client` and `cv` one line for each client. A client
 * whose times between requests vary by `cv` has `cv²` times the variance of Poisson arrivals, so that the whole has the mean of
 * cv² by rate. @throws UsageError
 */
export function readDays(path: string): DemandDays {
  const { columns, header, rows } = readCsv("--days", path);
  if (!columns.includes("t_s") || !columns.includes("rate_rps"))
    throw new UsageError(
      `--days ${path}: got columns ${header.slice(0, 200)}, wanted t_s,rate_rps`,
    );
  if (rows.length === 0) throw new UsageError(`--days ${path}: got no rows, wanted one at least`);
  const hasClients = columns.includes("client") && columns.includes("cv");
  const sums = new Map<number, { rate: number; variance: number }>();
  for (const [index, row] of rows.entries()) {
    const at = row.number("t_s") / demandStepSeconds;
    const rate = row.number("rate_rps");
    if (!Number.isInteger(at) || at < 0 || at > 100_000 || rate < 0)
      throw new UsageError(
        `--days ${path}: line ${index + 2}: got t_s ${row.text("t_s")} and rate_rps ${row.text("rate_rps")}, wanted steps of ${demandStepSeconds} s from 0 and a rate of 0 or more`,
      );
    const sum = sums.get(at) ?? { rate: 0, variance: 0 };
    const cv = hasClients && row.text("cv") !== "" ? row.number("cv") : 1;
    sum.rate += rate;
    sum.variance += rate * (hasClients ? cv * cv : usualDispersion);
    sums.set(at, sum);
  }
  const count = Math.max(...sums.keys()) + 1;
  const steps = Array.from({ length: count }, (_, at) => sums.get(at) ?? { rate: 0, variance: 0 });
  return {
    rates: steps.map(({ rate }) => rate),
    dispersion: steps.map(({ rate, variance }) =>
      rate > 0 ? Math.min(dispersionMax, Math.max(1, variance / rate)) : 1,
    ),
  };
}
