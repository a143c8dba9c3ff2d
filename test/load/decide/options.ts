import { parseArgs } from "node:util";

/** What a run measures and where its table goes. */
export interface DecideOptions {
  /** Decisions of each kind. */
  readonly decisions: number;
  /** Only cases whose name contains this; null: all. */
  readonly only: string | null;
  /** A file whose section between the markers is replaced; null: the table is only printed. */
  readonly out: string | null;
}

/** The run that shows that nothing grows. */
const longDecisions = 10_000_000;

/** Reads `--decisions N --long --only TEXT --out FILE`. @throws TypeError for an unknown option or a number out of range. */
export function readDecideOptions(args: readonly string[]): DecideOptions {
  const { values } = parseArgs({
    args: [...args],
    options: {
      decisions: { type: "string" },
      long: { type: "boolean", default: false },
      only: { type: "string" },
      out: { type: "string" },
    },
  });
  if (values.long && values.decisions !== undefined)
    throw new TypeError("--long: got --decisions as well, wanted one of them");
  const text = values.decisions ?? "100000";
  const decisions = values.long ? longDecisions : Number(text);
  if (!Number.isInteger(decisions) || decisions < 1_000 || decisions > 100_000_000)
    throw new TypeError(`--decisions: got ${text}, wanted a whole number from 1000 to 100000000`);
  return { decisions, only: values.only ?? null, out: values.out ?? null };
}
