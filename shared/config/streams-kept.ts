import * as z from "zod";
import type { TopologyProblem } from "./topology-problem.ts";

/** From a minute, so that a reader can come back at all, to 30 days. */
export const keptSeconds = z.int().min(60).max(2_592_000);
/** A day: what readers of a stream are promised unless the topology says otherwise. */
const keptSecondsDefault = 86_400;

interface Bounds {
  readonly streamsKeptSecondsMin?: number | undefined;
  readonly streamsKeptSecondsMax?: number | undefined;
}

interface Wish {
  readonly streamsKeptSeconds?: number | undefined;
}

/** How long streams of a tenant are kept, ms: its own time, or a day within its jurisdiction's bounds. */
export function streamsKeptMs(bounds: Bounds, { streamsKeptSeconds }: Wish): number {
  const { streamsKeptSecondsMin: min = 0, streamsKeptSecondsMax: max = Infinity } = bounds;
  return 1000 * (streamsKeptSeconds ?? Math.min(max, Math.max(min, keptSecondsDefault)));
}

/** Times out of their jurisdiction's bounds, and bounds that leave nothing between them. */
export function streamsKeptProblems(file: {
  readonly jurisdictions: Readonly<Record<string, Bounds>>;
  readonly tenants: Readonly<Record<string, Wish & { readonly jurisdiction: string }>>;
}): readonly TopologyProblem[] {
  const problems: TopologyProblem[] = [];
  for (const [id, bounds] of Object.entries(file.jurisdictions)) {
    const { streamsKeptSecondsMin: min, streamsKeptSecondsMax: max } = bounds;
    if (min !== undefined && max !== undefined && min > max) {
      const path = `jurisdictions.${id}.streamsKeptSecondsMin`;
      problems.push({ path, got: String(min), wanted: `at most streamsKeptSecondsMax, ${max}` });
    }
  }
  for (const [id, { jurisdiction, streamsKeptSeconds }] of Object.entries(file.tenants)) {
    if (streamsKeptSeconds === undefined || !Object.hasOwn(file.jurisdictions, jurisdiction))
      continue;
    const { streamsKeptSecondsMin: min = 0, streamsKeptSecondsMax: max = Infinity } =
      file.jurisdictions[jurisdiction] ?? {};
    if (streamsKeptSeconds >= min && streamsKeptSeconds <= max) continue;
    problems.push({
      path: `tenants.${id}.streamsKeptSeconds`,
      got: String(streamsKeptSeconds),
      wanted: `between ${min} and ${max}, the bounds of ${jurisdiction}`,
    });
  }
  return problems;
}
