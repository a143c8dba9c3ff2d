import type { PolicySummary } from "./summary.ts";

/** Pixels of a bar chart. */
const rowHeight = 26;
const labelWidth = 190;
const barWidth = 420;
const width = labelWidth + barWidth + 130;

const escapes: Readonly<Record<string, string>> = { "&": "&amp;", "<": "&lt;", ">": "&gt;" };

function escape(text: string): string {
  return text.replaceAll(/[&<>]/g, (sign) => escapes[sign] ?? sign);
}

/**
 * A bar chart of one figure, a bar for each policy with its 95 % interval, as SVG text. Bars begin at 0, so that lengths can
 * be compared. Policies without the figure are left out; null when none has it.
 */
export function barChart(
  title: string,
  figure: string,
  summaries: readonly PolicySummary[],
): string | null {
  const rows = summaries.flatMap(({ policy, figures }) => {
    const value = figures[figure];
    return value === undefined ? [] : [{ policy, ...value }];
  });
  if (rows.length === 0) return null;
  const most = Math.max(...rows.map(({ mean, half95 }) => mean + half95), Number.MIN_VALUE);
  const x = (value: number): string =>
    (labelWidth + (barWidth * Math.max(0, value)) / most).toFixed(1);
  const bars = rows.map(({ policy, mean, half95 }, index) => {
    const top = 40 + index * rowHeight;
    const middle = top + rowHeight / 2 - 3;
    const fill = /^(meridian|ours)/.test(policy) ? "#1f6f8b" : "#9aa5b1";
    return [
      `<text x="${labelWidth - 8}" y="${middle + 4}" text-anchor="end">${escape(policy)}</text>`,
      `<rect x="${labelWidth}" y="${top}" width="${((barWidth * mean) / most).toFixed(1)}" height="${rowHeight - 6}" fill="${fill}"/>`,
      `<path d="M${x(mean - half95)} ${middle}H${x(mean + half95)}" stroke="#222" stroke-width="1.5"/>`,
      `<text x="${labelWidth + barWidth + 8}" y="${middle + 4}">${Number(mean.toPrecision(3))}</text>`,
    ].join("");
  });
  const height = 50 + rows.length * rowHeight;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" font-family="sans-serif" font-size="13">`,
    `<rect width="100%" height="100%" fill="#fff"/>`,
    `<text x="12" y="24" font-size="15">${escape(title)}</text>`,
    ...bars,
    "</svg>",
    "",
  ].join("\n");
}
