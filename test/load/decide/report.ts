import type { DecideResult } from "./measure.ts";

/** Between these the section of a page is replaced. */
export const beginMark = "<!-- bench:decide begins -->";
export const endMark = "<!-- bench:decide ends -->";

/** The results as a table in Markdown. */
export function formatResults(results: readonly DecideResult[]): string {
  const lines = results.map(
    ({ bytesAllocated, decisions, fastestMicroseconds, heapGrowthBytes, microseconds, name }) =>
      `| ${[
        name,
        fastestMicroseconds.toPrecision(3),
        microseconds.toPrecision(3),
        Math.round(1e6 / fastestMicroseconds).toString(),
        Math.round(bytesAllocated).toString(),
        `${Math.round(heapGrowthBytes / 1_024)} KiB in ${decisions}`,
      ].join(" | ")} |`,
  );
  return [
    "| decision | µs, fastest twentieth | µs, mean | per second | bytes allocated | growth of the heap |",
    "|---|---|---|---|---|---|",
    ...lines,
  ].join("\n");
}

/** The page with the section replaced. @throws TypeError when it has no markers. */
export function withSection(page: string, section: string): string {
  const begin = page.indexOf(beginMark);
  const end = page.indexOf(endMark);
  if (begin < 0 || end < begin)
    throw new TypeError(`--out: got a page without ${beginMark} and ${endMark}`);
  return `${page.slice(0, begin + beginMark.length)}\n\n${section}\n\n${page.slice(end)}`;
}
