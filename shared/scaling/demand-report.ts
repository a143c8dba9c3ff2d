import * as z from "zod";
import type { ModelDemand } from "./scale-model.ts";

const work = z.number().min(0).max(1e9);
const schema = z.strictObject({
  v: z.literal(1),
  protected: work,
  other: work,
  burst: work,
  backlogSeconds: work,
  lateTokens: z.int().min(0),
  firstTokens: z.int().min(0),
  readyShards: z.array(z.string().max(128)).max(1_000),
  /** How long the last cold starts of its shards took, ms. */
  starts: z
    .array(
      z.strictObject({
        shard: z.string().max(128),
        ms: z.array(z.number().min(0).max(86_400_000)).max(32),
      }),
    )
    .max(1_000)
    .default([]),
});

/**
 * What a cell was offered of one model in the last minute: work of critical and interactive prompts and of others in
 * replica-seconds a second, that of the last 6 s, what waits, which of its shards answer, and how long they took to start. Numbers and shard ids only.
 */
export type DemandReport = z.infer<typeof schema>;

/** A report as text for the region's database. */
export function formatReport(report: DemandReport): string {
  return JSON.stringify(report);
}

/** A report that another cell wrote; null for what is none. */
export function parseReport(text: string): DemandReport | null {
  try {
    const parsed = schema.safeParse(JSON.parse(text));
    return parsed.success ? parsed.data : null;
  } catch {
    return null;
  }
}

/** Fewer first tokens say nothing about how many are late (our choice). */
const firstTokensMin = 20;

/**
 * The demand of a region: the sum over its cells of what they told within `ageMsMax`; null when none did. A cell that told nothing,
 * or something that is no report, makes it partial.
 */
export function sumReports(
  cells: readonly string[],
  reports: ReadonlyMap<string, { readonly report: DemandReport; readonly ageMs: number }>,
  { ageMsMax, nowMs }: { readonly ageMsMax: number; readonly nowMs: number },
): ModelDemand | null {
  const fresh = cells.flatMap((cell) => {
    const found = reports.get(cell);
    return found === undefined || found.ageMs > ageMsMax ? [] : [found];
  });
  if (fresh.length === 0) return null;
  const sum = (value: (report: DemandReport) => number): number =>
    fresh.reduce((all, { report }) => all + value(report), 0);
  const firstTokens = sum((report) => report.firstTokens);
  return {
    measuredAtMs: nowMs - Math.max(...fresh.map(({ ageMs }) => ageMs)),
    isPartial: fresh.length < cells.length,
    rates: { protected: sum((one) => one.protected), other: sum((one) => one.other) },
    burst: sum((one) => one.burst),
    backlogSeconds: sum((one) => one.backlogSeconds),
    lateShare: firstTokens < firstTokensMin ? null : sum((one) => one.lateTokens) / firstTokens,
  };
}
