import { parseArgs } from "node:util";

/** What a run measures and where its table goes. */
export interface BenchOptions {
  /** Interleaved rounds; the table has their medians. */
  readonly rounds: number;
  /** Length of each series of a round, seconds. */
  readonly seconds: number;
  /** The file that the table is written to. */
  readonly out: string;
}

/** Reads `--rounds N --seconds S --out FILE`. @throws TypeError for an unknown option or a number out of range. */
export function readOptions(args: readonly string[]): BenchOptions {
  const { values } = parseArgs({
    args: [...args],
    options: {
      rounds: { type: "string", default: "3" },
      seconds: { type: "string", default: "3" },
      out: { type: "string", default: "docs/benchmarks.md" },
    },
  });
  return {
    rounds: wholeNumber("--rounds", values.rounds),
    seconds: wholeNumber("--seconds", values.seconds),
    out: values.out,
  };
}

function wholeNumber(name: string, text: string): number {
  const value = Number(text);
  if (Number.isInteger(value) && value >= 1 && value <= 60) return value;
  throw new TypeError(`${name}: got ${text}, wanted a whole number from 1 to 60.`);
}
