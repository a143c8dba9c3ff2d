import { basename } from "node:path";
import { faultTimes } from "./faults.ts";
import { readFleet } from "./fleet.ts";
import { measure } from "./measure.ts";
import type { RunReport } from "./measure.ts";
import type { SimulateOptions } from "./options.ts";
import { replay } from "./replay.ts";
import { readTrace } from "#dev/capacity/request-trace.ts";
import { makeWorkload } from "./workload.ts";

/** All runs, and in a line what was run. */
export interface Simulation {
  readonly workload: string;
  readonly runs: readonly RunReport[];
}

function describe(options: SimulateOptions): string {
  const { fault, fleet, floodMix, load, mix, part, seed, seeds, trace } = options;
  return [
    `${basename(trace)}, ${part === "whole" ? "whole" : `${part} half`}`,
    `fleet ${basename(fleet)}`,
    load === null ? "times as recorded" : `load ${load}`,
    mix === null ? "no classes" : `mix ${mix.join("/")}`,
    ...(fault === null ? [] : [`fault ${fault}`]),
    ...(floodMix === null ? [] : [`flood's mix ${floodMix.join("/")}`]),
    `seeds ${seed}-${seed + seeds - 1}`,
  ].join("; ");
}

/** Replays each seed's workload under each policy. @throws UsageError when the trace or the fleet cannot be read. */
export function simulateAll(options: SimulateOptions): Simulation {
  const trace = readTrace(options.trace);
  const { shards: fleet, tenants } = readFleet(options.fleet);
  const runs: RunReport[] = [];
  for (let seed = options.seed; seed < options.seed + options.seeds; seed += 1) {
    const { floodMix, load, mix, part } = options;
    const arrivals = makeWorkload({ trace, part, fleet, seed, load, mix, floodMix });
    const spanMs = arrivals.reduce((last, { atMs }) => Math.max(last, atMs), 0);
    const fault =
      options.fault === null ? null : { name: options.fault, ...faultTimes(options.fault, spanMs) };
    for (const [policy, entry] of options.policies) {
      const hasAdmission = mix !== null;
      const result = replay({ arrivals, fleet, policy: entry, seed, hasAdmission, fault, tenants });
      runs.push(measure({ policy, seed, arrivals, fleet, result, fault }));
    }
  }
  return { workload: describe(options), runs };
}
