import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { readDevFile } from "../../supervisor/dev-file.ts";
import type { DevFile } from "../../supervisor/dev-file.ts";
import type { Flow } from "../load/flow.ts";
import { batchTtftMsMax, interactiveTtftMsMax } from "./drill-topology.ts";
import { SystemError } from "./drilled-system.ts";
import type { DrilledSystem } from "./drilled-system.ts";
import { isAlive } from "./processes.ts";

/** Of the tenant of each jurisdiction whose key dev.json holds: it shows a fault and burdens a development machine little. */
const interactivePerSecond = 3;
const batchPerSecond = 1;
/** Two shards at least: with one, every fault is a loss of all. */
const shardsMin = 2;

/** Attaches to a running `npm run dev`; it is left running. @throws SystemError when there is none, or too few shards. */
export function attachSystem(devPath: string): DrilledSystem {
  const first = read(devPath);
  const { jurisdiction, model } = chooseTarget(first);
  const supervisorPid = readPid(join(dirname(devPath), "supervisor.pid"));
  let last = first;
  return {
    description: `the running system of ${devPath}`,
    file() {
      // Without the supervisor there is none; that is seen elsewhere.
      if (existsSync(devPath)) last = read(devPath);
      return last;
    },
    flows: flowsOf(first, jurisdiction),
    model,
    jurisdiction,
    scalesToZero: false,
    isSupervisorAlive: () => isAlive(supervisorPid),
    // They are in its state folder.
    keepLogs: () => undefined,
    stop: () => Promise.resolve([]),
  };
}

function read(devPath: string): DevFile {
  try {
    return readDevFile(devPath);
  } catch {
    throw new SystemError(`Nothing runs here: ${devPath} cannot be read. Start with npm run dev.`);
  }
}

function readPid(path: string): number {
  try {
    return Number(readFileSync(path, "utf8"));
  } catch {
    throw new SystemError(
      `${path} cannot be read: wanted the process id of a running npm run dev.`,
    );
  }
}

/** The jurisdiction and model with the most simulated shards. */
function chooseTarget(file: DevFile): { readonly jurisdiction: string; readonly model: string } {
  const counts = new Map<string, number>();
  for (const { cell, model, pid } of file.shards) {
    const jurisdiction = file.cells.find(({ id }) => id === cell)?.jurisdiction;
    // Only an engine that npm run dev started itself has a control endpoint.
    if (jurisdiction === undefined || pid === undefined || !model.startsWith("sim/")) continue;
    const key = JSON.stringify({ jurisdiction, model });
    counts.set(key, (counts.get(key) ?? 0) + 1);
  }
  const [best] = [...counts].toSorted(([, a], [, b]) => b - a);
  if (best === undefined || best[1] < shardsMin)
    throw new SystemError(
      `The system has no model with ${shardsMin} simulated shards in one jurisdiction.`,
    );
  return JSON.parse(best[0]) as { jurisdiction: string; model: string };
}

function flowsOf(file: DevFile, target: string): readonly Flow[] {
  return Object.entries(file.keys)
    .filter(([jurisdiction]) => jurisdiction !== "admin")
    .flatMap(([jurisdiction, key]): readonly Flow[] => {
      const interactive: Flow = {
        name: `${jurisdiction}-interactive`,
        jurisdiction,
        key,
        priority: "interactive",
        perSecond: interactivePerSecond,
        ttftMsMax: interactiveTtftMsMax,
      };
      if (jurisdiction !== target) return [interactive];
      const batch: Flow = {
        ...interactive,
        name: `${jurisdiction}-batch`,
        priority: "batch",
        perSecond: batchPerSecond,
        ttftMsMax: batchTtftMsMax,
      };
      return [interactive, batch];
    });
}
