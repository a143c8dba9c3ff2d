import { parseArgs } from "node:util";

/** The drills there are, in the order in which `all` runs them. */
export const drillNames = [
  "third",
  "fail-fast",
  "slow",
  "liar",
  "flood",
  "retry-storm",
  "herd",
  "day",
] as const;
/** The name of a drill. */
export type DrillName = (typeof drillNames)[number];

/** What `npm run drill` was asked for. */
export interface DrillOptions {
  /** The drills to run, one after the other. */
  readonly drills: readonly DrillName[];
  /** The dev.json of a running system; null starts one. */
  readonly attachPath: string | null;
  /** The folder for the JSON and markdown reports; null writes none. */
  readonly outPath: string | null;
  readonly seed: number;
  readonly baselineSeconds: number;
  readonly faultSeconds: number;
  /** Longest time that the system is watched after the fault; null is as long as its policies allow it to take. */
  readonly watchSeconds: number | null;
  /** Leaves the fault on after its time, so that the checks must fail. */
  readonly isFaultKept: boolean;
}

/** A command line that cannot be used: which option, what it got, what is wanted. */
export class DrillUsageError extends Error {}

/** Long enough that one failed request of the slowest flow does not decide a share of 95 %. */
const baselineSecondsDefault = 20;
/** Several times the window and the ejection of a breaker, so that the system's answer to the fault is seen. */
const faultSecondsDefault = 30;
const secondsMin = 5;
const secondsMax = 600;
const seedMax = 2 ** 31 - 1;

export const drillUsage = `npm run drill -- NAME [options]
  NAME                      ${drillNames.join(", ")} or all
  --list                    the drills and what each does
  --attach DEV_JSON         the dev.json of a running npm run dev (default: starts an own system, stops it afterwards)
  --out DIR                 writes NAME.json and NAME.md there
  --seed N                  seed of prompts and choices (1)
  --baseline-seconds N      traffic before the fault (${baselineSecondsDefault})
  --fault-seconds N         how long the fault stays (${faultSecondsDefault})
  --watch-seconds N         watches no longer after the fault: what has not come back by then fails (as long as allowed)
  --keep-fault              does not end the fault: shows that the checks fail
  --help                    this text
Exit code: 0 all checks hold, 1 a check failed or the drill was aborted, 2 wrong options.`;

const flags = {
  list: { type: "boolean" },
  attach: { type: "string" },
  out: { type: "string" },
  seed: { type: "string" },
  "baseline-seconds": { type: "string" },
  "fault-seconds": { type: "string" },
  "watch-seconds": { type: "string" },
  "keep-fault": { type: "boolean" },
  help: { type: "boolean" },
} as const;

/** Reads the command line. @throws DrillUsageError for an unknown, repeated or unusable option or name. */
export function parseDrillOptions(args: readonly string[]): DrillOptions | "help" | "list" {
  const { values, tokens, positionals } = read(args);
  const seen = new Set<string>();
  for (const token of tokens) {
    if (token.kind !== "option") continue;
    if (seen.has(token.name))
      throw new DrillUsageError(`--${token.name}: given twice, wanted once`);
    seen.add(token.name);
  }
  if (values.help === true) return "help";
  if (values.list === true) return "list";
  const seconds = { min: secondsMin, max: secondsMax };
  return {
    drills: namesOf(positionals),
    attachPath: text("attach", values.attach, "the path of a dev.json"),
    outPath: text("out", values.out, "a folder"),
    seed: whole("seed", values.seed, { min: 0, max: seedMax }) ?? 1,
    baselineSeconds:
      whole("baseline-seconds", values["baseline-seconds"], seconds) ?? baselineSecondsDefault,
    faultSeconds: whole("fault-seconds", values["fault-seconds"], seconds) ?? faultSecondsDefault,
    watchSeconds: whole("watch-seconds", values["watch-seconds"], seconds) ?? null,
    isFaultKept: values["keep-fault"] === true,
  };
}

function read(args: readonly string[]) {
  try {
    const options = { args: [...args], options: flags, strict: true, tokens: true } as const;
    return parseArgs({ ...options, allowPositionals: true });
  } catch (error) {
    throw new DrillUsageError(error instanceof Error ? error.message : "unreadable options");
  }
}

function namesOf(positionals: readonly string[]): readonly DrillName[] {
  const [name, ...more] = positionals;
  const known = drillNames.find((one) => one === name);
  if (more.length === 0 && name === "all") return drillNames;
  if (more.length === 0 && known !== undefined) return [known];
  const got = positionals.length === 0 ? "nothing" : `"${positionals.join(" ")}"`;
  throw new DrillUsageError(`NAME: got ${got}, wanted one of ${drillNames.join(", ")}, all`);
}

function text(name: string, value: string | undefined, wanted: string): string | null {
  if (value === "") throw new DrillUsageError(`--${name}: got nothing, wanted ${wanted}`);
  return value ?? null;
}

function whole(
  name: string,
  value: string | undefined,
  { min, max }: { readonly min: number; readonly max: number },
): number | undefined {
  if (value === undefined) return undefined;
  const number = /^[0-9]{1,10}$/.test(value) ? Number(value) : -1;
  if (number < min || number > max)
    throw new DrillUsageError(
      `--${name}: got "${value}", wanted a whole number from ${min} to ${max}`,
    );
  return number;
}
