import { readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";
import { UsageError } from "./usage-error.ts";

/** One line of a CSV file. */
export interface CsvRow {
  /** Empty where the column is. */
  readonly text: (column: string) => string;
  /** @throws UsageError unless the cell is a finite number. */
  readonly number: (column: string) => number;
}

/** A CSV file: its columns, and its lines. */
export interface CsvFile {
  readonly header: string;
  readonly columns: readonly string[];
  readonly rows: readonly CsvRow[];
}

function readText(option: string, path: string): string {
  try {
    const bytes = readFileSync(path);
    const isCompressed = bytes[0] === 0x1f && bytes[1] === 0x8b;
    return (isCompressed ? gunzipSync(bytes) : bytes).toString("utf8");
  } catch (error) {
    throw new UsageError(
      `${option} ${path}: ${error instanceof Error ? error.message : "unreadable"}`,
    );
  }
}

/** Reads a CSV file without quoted cells, gzip or not. @throws UsageError that begins with the option and the path. */
export function readCsv(option: string, path: string): CsvFile {
  const [header = "", ...lines] = readText(option, path).trimEnd().split("\n");
  const names = header.trimEnd().split(",");
  const columns = new Map(names.map((name, index) => [name, index]));
  const rows = lines.map((line, index): CsvRow => {
    const cells = line.trimEnd().split(",");
    const text = (column: string): string => cells[columns.get(column) ?? -1] ?? "";
    return {
      text,
      number(column) {
        const value = Number(text(column));
        if (text(column) !== "" && Number.isFinite(value)) return value;
        const got = text(column) === "" ? "nothing" : text(column).slice(0, 50);
        throw new UsageError(
          `${option} ${path}: line ${index + 2}: got ${got}, wanted a number in ${column}`,
        );
      },
    };
  });
  return { header, columns: names, rows };
}
