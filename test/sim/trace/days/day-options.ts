import { parseArgs } from "node:util";
import { UsageError } from "#dev/capacity/usage-error.ts";
import type { ClassShares } from "#shared/scaling/fleet-demand.ts";
import { readMix, required, wholeNumber } from "../options.ts";
import { scalers } from "./scalers.ts";

/** How days are simulated. */
export const dayUsage = `npm run simulate -- --days FILE --trace FILE --fleet FILE --scaler NAME[,NAME] --seed N
  [--seeds N] [--scale X] [--learn-days N] [--mix 15/25/40/20] [--check-hour N] [--out DIR]

  --days        rates, one a 10-minute step; --trace: what the requests are like; --fleet: what can be bought
  --scaler      all, or some of ${Object.keys(scalers).join(", ")}
  --scale       factor on the rates, default 1
  --learn-days  first days, which are run and not counted; default half of them
  --check-hour  replays this hour of the days request by request, with the replicas of the first scaler, and compares`;

/** What a run over days does. */
export interface DayOptions {
  readonly days: string;
  readonly trace: string;
  readonly fleet: string;
  readonly scalers: readonly string[];
  readonly seed: number;
  readonly seeds: number;
  readonly scale: number;
  /** null: half of them. */
  readonly learnDays: number | null;
  readonly shares: ClassShares;
  readonly checkHour: number | null;
  readonly out: string | null;
}

function readScalers(names: string): readonly string[] {
  if (names === "all") return Object.keys(scalers);
  const wanted = names.split(",").map((name) => name.trim());
  const unknown = wanted.find((name) => !Object.hasOwn(scalers, name));
  if (unknown === undefined) return [...new Set(wanted)];
  throw new UsageError(
    `--scaler: got ${unknown}, wanted one of ${[...Object.keys(scalers), "all"].join(", ")}`,
  );
}

function readScale(text: string): number {
  const value = Number(text);
  if (text.trim() !== "" && value >= 0.001 && value <= 100) return value;
  throw new UsageError(`--scale: got ${text}, wanted a number from 0.001 to 100`);
}

function sharesOf(mix: readonly number[]): ClassShares {
  const sum = mix.reduce((total, one) => total + one, 0);
  const at = (index: number): number => (mix[index] ?? 0) / sum;
  return { critical: at(0), interactive: at(1), standard: at(2), batch: at(3) };
}

/** Reads the command line of a run over days. @throws UsageError with what was got and what was wanted. */
export function readDayOptions(args: readonly string[]): DayOptions {
  const text = { type: "string" } as const;
  const parse = (): Record<string, string | undefined> => {
    try {
      return parseArgs({
        args: [...args],
        options: {
          days: text,
          trace: text,
          fleet: text,
          scaler: text,
          seed: text,
          seeds: text,
          scale: text,
          "learn-days": text,
          mix: text,
          "check-hour": text,
          out: text,
        },
      }).values;
    } catch (error) {
      throw new UsageError(error instanceof Error ? error.message : "options: unreadable");
    }
  };
  const got = parse();
  const optional = (name: string): string | undefined => got[name];
  const learnDays = optional("learn-days");
  const checkHour = optional("check-hour");
  const out = optional("out");
  return {
    days: required("--days", got["days"]),
    trace: required("--trace", got["trace"]),
    fleet: required("--fleet", got["fleet"]),
    scalers: readScalers(required("--scaler", got["scaler"])),
    seed: wholeNumber("--seed", required("--seed", got["seed"]), 0, 1_000_000),
    seeds: wholeNumber("--seeds", got["seeds"] ?? "1", 1, 1_000),
    scale: readScale(got["scale"] ?? "1"),
    learnDays: learnDays === undefined ? null : wholeNumber("--learn-days", learnDays, 0, 365),
    shares: sharesOf(readMix("--mix", got["mix"] ?? "15/25/40/20")),
    checkHour: checkHour === undefined ? null : wholeNumber("--check-hour", checkHour, 0, 8_760),
    out: out === undefined ? null : required("--out", out),
  };
}
