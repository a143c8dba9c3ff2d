import { noBadSeconds, stepAbort } from "./judge/abort.ts";
import type { AbortGroup, AbortPolicy, AbortState } from "./judge/abort.ts";
import { goodCode } from "./judge/timeline.ts";
import { isInteractive } from "./load/flow.ts";
import type { Flow } from "./load/flow.ts";
import type { DrilledSystem } from "./system/drilled-system.ts";
import { partsOf, processesOf } from "./system/processes.ts";
import { readSystemState } from "./system/system-state.ts";

/** Most memory that one process of each part held, bytes. */
export type MemoryPeaks = Readonly<Record<string, number>>;

/** What is watched all through a drill. */
export interface Watch {
  readonly onEnded: (flow: Flow, code: string) => void;
  readonly onShard: (flow: Flow, shard: string) => void;
  foreignAnswers(): readonly string[];
  /** The shards that have given an answer. */
  readonly answering: () => ReadonlySet<string>;
  /** Highest degradation level that a cell told; null when none told one. */
  readonly highestLevel: () => number | null;
  memoryPeaks(): MemoryPeaks;
  stop(): void;
}

const lookMs = 1_000;
/** Kept for the report; one is enough to stop the drill. */
const foreignAnswersMax = 10;

type Counts = Record<AbortGroup, { count: number; errors: number }>;

function noCounts(): Counts {
  return { bystander: { count: 0, errors: 0 }, interactive: { count: 0, errors: 0 } };
}

/** Looks at the system once a second and calls `onAbort` once when a bound is passed. */
export function startWatch(
  system: DrilledSystem,
  policy: AbortPolicy,
  onAbort: (reason: string) => void,
): Watch {
  const jurisdictionOfShard = jurisdictionsOfShards(system);
  const foreign: string[] = [];
  const answering = new Set<string>();
  const peaks: Record<string, number> = {};
  let ended = noCounts();
  let state: AbortState = noBadSeconds;
  let level: number | null = null;
  let isReading = false;

  function look(): void {
    const parts = namesOfGroups(system);
    const processes = processesOf(new Set(parts.keys())).map(({ group, pid, residentBytes }) => {
      const name = parts.get(group) ?? `process ${pid}`;
      peaks[name] = Math.max(peaks[name] ?? 0, residentBytes);
      return { name, residentBytes };
    });
    const step = stepAbort(
      state,
      {
        isSupervisorAlive: system.isSupervisorAlive(),
        foreignAnswers: foreign,
        processes,
        ended,
      },
      policy,
    );
    ended = noCounts();
    state = step.state;
    if (step.reason !== null) onAbort(step.reason);
    if (!isReading) void readLevel();
  }

  async function readLevel(): Promise<void> {
    isReading = true;
    try {
      const { levels } = await readSystemState(system.file());
      for (const value of Object.values(levels))
        if (value !== null) level = Math.max(level ?? 0, value);
    } catch {
      // No dev.json any more: the supervisor's end is seen by the next look.
    } finally {
      isReading = false;
    }
  }

  const timer = setInterval(look, lookMs);
  return {
    onEnded(flow, code) {
      if (!isInteractive(flow)) return;
      const group = flow.jurisdiction === system.jurisdiction ? "interactive" : "bystander";
      ended[group].count += 1;
      if (code !== goodCode && code !== "late") ended[group].errors += 1;
    },
    onShard(flow, shard) {
      const jurisdiction = jurisdictionOfShard.get(shard);
      if (jurisdiction !== undefined) answering.add(shard);
      if (jurisdiction === flow.jurisdiction || foreign.length >= foreignAnswersMax) return;
      foreign.push(`${flow.name} was answered by ${shard} of ${jurisdiction ?? "nowhere"}`);
    },
    foreignAnswers: () => foreign,
    answering: () => answering,
    highestLevel: () => level,
    memoryPeaks: () => peaks,
    stop: () => clearInterval(timer),
  };
}

function jurisdictionsOfShards(system: DrilledSystem): ReadonlyMap<string, string> {
  const { cells, shards } = system.file();
  return new Map(
    shards.map(({ id, cell }) => [id, cells.find((one) => one.id === cell)?.jurisdiction ?? ""]),
  );
}

/** By the leader of its process group; empty when there is no dev.json any more. */
function namesOfGroups(system: DrilledSystem): ReadonlyMap<number, string> {
  try {
    return new Map(partsOf(system.file()).map(({ name, pid }) => [pid, name]));
  } catch {
    return new Map();
  }
}
