import type { DayRun } from "./day-run.ts";

const width = 1_000;
const height = 320;
const left = 60;
const bottom = 40;
const top = 40;
const colours = [
  "#1f6f8b",
  "#b5543c",
  "#6a8f3c",
  "#8a5fa8",
  "#b08a2e",
  "#4f7fbf",
  "#7a7a7a",
  "#2e2e2e",
];

/** A scaler's runs, one a region. */
export interface ChartLine {
  readonly name: string;
  readonly runs: readonly DayRun[];
}

function total(runs: readonly DayRun[], at: number, read: "held" | "demandUnits"): number {
  return runs.reduce((sum, { curve }) => sum + (curve[at]?.[read] ?? 0), 0);
}

/** Every so many minutes a point is drawn: the most of them, so that no peak is lost. */
const minutesPerPoint = 20;

/** Replicas over time, a line for each scaler over the demand as an area, as SVG text; time and count begin at 0. */
export function replicaChart(title: string, lines: readonly ChartLine[]): string {
  const count = lines[0]?.runs[0]?.curve.length ?? 0;
  const points = Math.max(1, Math.ceil(count / minutesPerPoint));
  const series = (runs: readonly DayRun[], read: "held" | "demandUnits"): readonly number[] =>
    Array.from({ length: points }, (_, point) => {
      let most = 0;
      for (
        let at = point * minutesPerPoint;
        at < Math.min(count, (point + 1) * minutesPerPoint);
        at += 1
      )
        most = Math.max(most, total(runs, at, read));
      return most;
    });
  const demand = series(lines[0]?.runs ?? [], "demandUnits");
  const drawn = lines.map(({ name, runs }) => ({ name, values: series(runs, "held") }));
  const most = Math.max(1, ...demand, ...drawn.flatMap(({ values }) => values));
  const x = (point: number): string =>
    (left + ((width - left - 20) * point) / Math.max(1, points - 1)).toFixed(1);
  const y = (value: number): string =>
    (height - bottom - ((height - bottom - top) * value) / most).toFixed(1);
  const path = (values: readonly number[]): string =>
    values.map((value, point) => `${point === 0 ? "M" : "L"}${x(point)} ${y(value)}`).join("");
  const minutes = points * minutesPerPoint;
  const dayMarks = Array.from({ length: Math.floor(minutes / 1_440) + 1 }, (_, day) => {
    const at = ((day * 1_440) / Math.max(1, minutes)) * (points - 1);
    return `<text x="${x(at)}" y="${height - bottom + 18}" text-anchor="middle">day ${day}</text>`;
  });
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" font-family="sans-serif" font-size="12">`,
    `<rect width="100%" height="100%" fill="#fff"/>`,
    `<text x="12" y="20" font-size="15">${title}</text>`,
    `<path d="${path(demand)}L${x(points - 1)} ${y(0)}L${x(0)} ${y(0)}Z" fill="#dfe5ea"/>`,
    ...drawn.map(
      ({ values }, index) =>
        `<path d="${path(values)}" fill="none" stroke="${colours[index % colours.length]}" stroke-width="1.2"/>`,
    ),
    ...drawn.map(
      ({ name }, index) =>
        `<text x="${left + 10 + index * 115}" y="${top - 4}" fill="${colours[index % colours.length]}">${name}</text>`,
    ),
    `<text x="${left - 6}" y="${y(most)}" text-anchor="end">${Math.round(most)}</text>`,
    `<text x="${left - 6}" y="${y(0)}" text-anchor="end">0</text>`,
    ...dayMarks,
    "</svg>",
    "",
  ].join("\n");
}
