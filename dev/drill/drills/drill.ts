import type { DevFile } from "../../supervisor/dev-file.ts";
import type { AbortPolicy } from "../judge/abort.ts";
import type { Check, Expectation } from "../judge/checks.ts";
import { isInteractive } from "../load/flow.ts";
import type { Flow } from "../load/flow.ts";
import type { Traffic } from "../load/traffic.ts";
import type { DrillPlatform } from "../system/drill-topology.ts";
import type { DrilledSystem } from "../system/drilled-system.ts";
import type { DrillOptions } from "../options.ts";

/** What a fault works with. */
export interface DrillContext {
  readonly system: DrilledSystem;
  readonly traffic: Traffic;
  readonly options: DrillOptions;
  /** The shards that have given an answer so far: a fault anywhere else is met by nobody. */
  readonly answering: () => ReadonlySet<string>;
  /** Uniform on [0, 1), seeded. */
  readonly random: () => number;
  /** Aborted when the drill is. */
  readonly signal: AbortSignal;
  readonly log: (line: string) => void;
}

/** A fault that can be switched on and off once. */
export interface Fault {
  /** Switches it on; resolves when it is on. */
  begin(): Promise<void>;
  /** Lasts as long as the fault; the drill's `--fault-seconds` unless the fault has an own end. */
  hold(): Promise<void>;
  /** Switches it off. Does nothing when it is off. */
  end(): Promise<void>;
  /** What the fault itself must show, above all that it hit something: a drill without a fault proves nothing. */
  checks(): readonly Check[];
  /** Names of parts whose process the fault ended on purpose. */
  readonly killedParts: readonly string[];
}

/** A drill: a fault, and what is expected while it is on. */
export interface Drill {
  readonly title: string;
  /** What the shards of the fault's jurisdiction are in an own system; they are always up where it is left out. */
  readonly platform?: DrillPlatform;
  /** Why the drill cannot be run against this system; null when it can. */
  refuse(system: DrilledSystem): string | null;
  prepare(context: DrillContext): Fault;
  expectations(flows: readonly Flow[], jurisdiction: string): readonly Expectation[];
  /** Flows that must come back to their goodput after it. */
  recovering(flows: readonly Flow[], jurisdiction: string): readonly string[];
  readonly abort: AbortPolicy;
}

/** Another jurisdiction shares no shard, cell or tenant with the fault: it must not notice. */
const bystanderShareMin = 0.95;

/** Expects every flow of another jurisdiction to keep its goodput. */
export function bystanders(flows: readonly Flow[], jurisdiction: string): readonly Expectation[] {
  return flows
    .filter((flow) => flow.jurisdiction !== jurisdiction)
    .map(({ name }) => ({ flow: name, shareMin: bystanderShareMin }));
}

/** Expects a share of goodput of every interactive flow of the fault's jurisdiction. */
export function interactiveKeeps(
  flows: readonly Flow[],
  jurisdiction: string,
  shareMin: number,
): readonly Expectation[] {
  return flows
    .filter((flow) => flow.jurisdiction === jurisdiction && isInteractive(flow))
    .map(({ name }) => ({ flow: name, shareMin }));
}

/** The names of all flows. */
export function allFlows(flows: readonly Flow[]): readonly string[] {
  return flows.map(({ name }) => name);
}

/** The simulated shards of the drilled model in the fault's jurisdiction, in the order of dev.json. */
export function targetShards(system: DrilledSystem): readonly DevFile["shards"][number][] {
  const file = system.file();
  const cells = new Set(
    file.cells
      .filter(({ jurisdiction }) => jurisdiction === system.jurisdiction)
      .map(({ id }) => id),
  );
  return file.shards.filter(({ cell, model }) => cells.has(cell) && model === system.model);
}

/** Waits until time is over or the drill is aborted. */
export function holdFor(seconds: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(done, seconds * 1_000);
    function done(): void {
      clearTimeout(timer);
      signal.removeEventListener("abort", done);
      resolve();
    }
    if (signal.aborted) done();
    else signal.addEventListener("abort", done);
  });
}

const residentBytesMax = 2 ** 31;

/**
 * Bounds of a drill whose fault leaves room for all interactive work: half of it may fail for ten seconds, which is three times
 * what a breaker needs to see a broken shard. No process of a healthy run holds more than a quarter of 2 GiB.
 */
export const strictAbort: AbortPolicy = {
  residentBytesMax,
  errorShareMax: { bystander: 0.2, interactive: 0.5 },
  badSecondsMax: { bystander: 5, interactive: 10 },
};
/** Bounds of a drill that overloads its own jurisdiction on purpose: only what others suffer ends it, and memory. */
export const overloadAbort: AbortPolicy = {
  ...strictAbort,
  badSecondsMax: { bystander: 5, interactive: 90 },
};
