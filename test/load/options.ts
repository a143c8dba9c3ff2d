import { parseArgs } from "node:util";

/** What a run measures and where its table goes. */
export interface BenchOptions {
  /** Interleaved rounds; the table has their medians. */
  readonly rounds: number;
  /** Length of each series of a round, seconds. */
  readonly seconds: number;
  /** Streams of the memory series; a busy machine does not open many before the first of them end. */
  readonly openStreams: number;
  /** The file that the table is written to. */
  readonly out: string;
}

/** Reads `--rounds N --seconds S --open-streams N --out FILE`. @throws TypeError for an unknown option or a number out of range. */
export function readOptions(args: readonly string[]): BenchOptions {
  const { values } = parseArgs({
    args: [...args],
    options: {
      rounds: { type: "string", default: "3" },
      seconds: { type: "string", default: "3" },
      "open-streams": { type: "string", default: "500" },
      out: { type: "string", default: "docs/benchmarks.md" },
    },
  });
  return {
    rounds: wholeNumber("--rounds", values.rounds, 60),
    seconds: wholeNumber("--seconds", values.seconds, 60),
    openStreams: wholeNumber("--open-streams", values["open-streams"], 2_000),
    out: values.out,
  };
}

function wholeNumber(name: string, text: string, max: number): number {
  const value = Number(text);
  if (Number.isInteger(value) && value >= 1 && value <= max) return value;
  throw new TypeError(`${name}: got ${text}, wanted a whole number from 1 to ${max}.`);
}
