import type { Profile } from "./faults/profiles.ts";
import type { RunResult } from "./simulate.ts";

function sum(
  results: readonly RunResult[],
  of: (result: RunResult) => ReadonlyMap<string, number>,
): string {
  const total = new Map<string, number>();
  for (const result of results) {
    for (const [name, count] of of(result)) total.set(name, (total.get(name) ?? 0) + count);
  }
  return [...total]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, count]) => `  ${String(count).padStart(8)}  ${name}`)
    .join("\n");
}

/** What the runs covered, as text. */
export function formatReport(results: readonly RunResult[], profile: Profile): string {
  const events = results.reduce((total, result) => total + result.events, 0);
  const virtualMs = results.reduce((total, result) => total + result.virtualMs, 0);
  const readers = results.reduce((total, result) => total + result.readers, 0);
  const failed = results.filter(({ violations }) => violations.length > 0).length;
  return [
    `profile ${profile.name}: ${results.length} seeds, ${failed} failed, ${readers} readers of streams, ${events} events, ${(virtualMs / 3_600_000).toFixed(1)} virtual hours`,
    "faults",
    sum(results, ({ faults }) => faults),
    "points",
    sum(results, ({ points }) => points),
  ].join("\n");
}
