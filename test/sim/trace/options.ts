import { parseArgs } from "node:util";
import { faultNames } from "./faults.ts";
import type { FaultName } from "./faults.ts";
import { ablations, cellAblations, policies } from "./policies/catalogue.ts";
import type { PolicyEntry } from "./policies/catalogue.ts";
import { UsageError } from "#dev/capacity/usage-error.ts";
import { calmLoad } from "./workload.ts";
import type { TracePart } from "./workload.ts";

/** How the simulator is called. */
export const usage = `npm run simulate -- --trace FILE --fleet FILE --policy NAME[,NAME] --seed N
  [--seeds N] [--load X] [--part first|second] [--mix 15/25/40/20] [--fault NAME] [--flood-mix 15/25/40/20] [--out DIR]

  --policy  ${Object.keys(policies).join(", ")},
            all of these (all), ours with one part off each (ablations), or one of
            ${Object.keys(ablations).join(", ")};
            with --mix also the cell with one part off each (cell), or one of
            ${Object.keys(cellAblations).join(", ")}
  --seed    first seed; --seeds: how many, default 1
  --load    offered work / what the fleet can do, above 0 to 10; without it times are as recorded
  --part    half of the trace; without it the whole
  --mix     shares of critical/interactive/standard/batch; makes the cell whole: admission by class, retries within
            a budget, timeouts, hedges, degradation levels, health
  --fault   ${faultNames.join(", ")}; the last needs --load above ${calmLoad} and --mix
  --flood-mix  shares of the classes of who floods; without it those of --mix
  --out     folder for report.json, report.md and plots`;

/** What a run does. */
export interface SimulateOptions {
  readonly trace: string;
  readonly fleet: string;
  readonly policies: readonly (readonly [string, PolicyEntry])[];
  readonly seed: number;
  readonly seeds: number;
  readonly load: number | null;
  readonly part: TracePart;
  readonly mix: readonly number[] | null;
  readonly fault: FaultName | null;
  /** Shares of the classes of the tenant that floods; null unless one does. */
  readonly floodMix: readonly number[] | null;
  readonly out: string | null;
}

/** The value of an option that has to be there. @throws UsageError */
export function required(name: string, value: string | undefined): string {
  if (value === undefined || value === "")
    throw new UsageError(`${name}: got nothing, wanted a value`);
  return value;
}

/** @throws UsageError unless the text is a whole number within bounds. */
export function wholeNumber(name: string, text: string, least: number, most: number): number {
  const value = Number(text);
  if (/^\d+$/.test(text) && value >= least && value <= most) return value;
  throw new UsageError(`${name}: got ${text}, wanted a whole number from ${least} to ${most}`);
}

function namedPolicies(name: string): SimulateOptions["policies"] {
  if (name === "all") return Object.entries(policies);
  const { meridian } = policies;
  if (name === "ablations" && meridian !== undefined)
    return [["meridian", meridian], ...Object.entries(ablations)];
  if (name === "cell" && meridian !== undefined)
    return [["meridian", meridian], ...Object.entries(cellAblations)];
  const every = { ...policies, ...ablations, ...cellAblations };
  const entry = Object.hasOwn(every, name) ? every[name] : undefined;
  if (entry !== undefined) return [[name, entry]];
  const known = [...Object.keys(every), "all", "ablations", "cell"];
  throw new UsageError(`--policy: got ${name}, wanted one of ${known.join(", ")}`);
}

/** Names once each, in the order given. */
function readPolicies(names: string): SimulateOptions["policies"] {
  const entries = names.split(",").flatMap((name) => namedPolicies(name.trim()));
  return [...new Map(entries)];
}

function readLoad(text: string): number {
  const value = Number(text);
  if (text.trim() !== "" && value > 0 && value <= 10) return value;
  throw new UsageError(`--load: got ${text}, wanted a number above 0, at most 10`);
}

function oneOf<Name extends string>(option: string, text: string, names: readonly Name[]): Name {
  const found = names.find((name) => name === text);
  if (found !== undefined) return found;
  throw new UsageError(`${option}: got ${text}, wanted one of ${names.join(", ")}`);
}

/** Four shares of classes. @throws UsageError */
export function readMix(option: string, text: string): readonly number[] {
  const shares = text.split("/").map((share) => (share.trim() === "" ? Number.NaN : Number(share)));
  const sum = shares.reduce((total, share) => total + share, 0);
  if (shares.length === 4 && shares.every((share) => share >= 0) && sum > 0 && sum < Infinity)
    return shares;
  throw new UsageError(`${option}: got ${text}, wanted four shares as 15/25/40/20`);
}

/** The flooding tenant's mix. @throws UsageError where nobody floods. */
function readFloodMix(
  text: string | undefined,
  fault: FaultName | null,
  mix: readonly number[] | null,
): readonly number[] | null {
  if (fault === "tenant-flood") return text === undefined ? mix : readMix("--flood-mix", text);
  if (text === undefined) return null;
  throw new UsageError(`--flood-mix: got ${text}, wanted it only with --fault tenant-flood`);
}

function parse(args: readonly string[]): Record<string, string | undefined> {
  try {
    const text = { type: "string" } as const;
    return parseArgs({
      args: [...args],
      options: {
        trace: text,
        fleet: text,
        policy: text,
        seed: text,
        seeds: text,
        load: text,
        part: text,
        mix: text,
        fault: text,
        "flood-mix": text,
        out: text,
      },
    }).values;
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : "options: unreadable");
  }
}

/** Reads the command line. @throws UsageError with what was got and what was wanted. */
export function readOptions(args: readonly string[]): SimulateOptions {
  const values = parse(args);
  const { trace, fleet, policy, seed, seeds, load, part, out } = values;
  const mix = values["mix"] === undefined ? null : readMix("--mix", values["mix"]);
  const fault =
    values["fault"] === undefined ? null : oneOf("--fault", values["fault"], faultNames);
  const options: SimulateOptions = {
    trace: required("--trace", trace),
    fleet: required("--fleet", fleet),
    policies: readPolicies(required("--policy", policy)),
    seed: wholeNumber("--seed", required("--seed", seed), 0, 1_000_000),
    seeds: wholeNumber("--seeds", seeds ?? "1", 1, 1_000),
    load: load === undefined ? null : readLoad(load),
    part: part === undefined ? "whole" : oneOf("--part", part, ["first", "second"]),
    mix,
    fault,
    floodMix: readFloodMix(values["flood-mix"], fault, mix),
    out: out === undefined ? null : required("--out", out),
  };
  const ofCell = options.policies.find(([name]) => Object.hasOwn(cellAblations, name));
  if (options.mix === null && ofCell !== undefined)
    throw new UsageError(
      `--policy: got ${ofCell[0]} without --mix, wanted --mix as well: without classes there is nothing to switch off`,
    );
  if (options.fault === "tenant-flood" && ((options.load ?? 0) <= calmLoad || options.mix === null))
    throw new UsageError(
      `--fault: got tenant-flood with load ${load ?? "as recorded"} and mix ${mix?.join("/") ?? "none"}, wanted --load above ${calmLoad} and --mix`,
    );
  return options;
}
