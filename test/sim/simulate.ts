import { checkHistory, checkRest } from "./checkers/final.ts";
import type { Violation } from "./checkers/recorder.ts";
import { hasDelivery } from "#shared/conversation/outbox.ts";
import { startChaos } from "./faults/chaos.ts";
import type { Profile } from "./faults/profiles.ts";
import { Kernel } from "./kernel.ts";
import type { Mutant } from "./mutants/mutant.ts";
import { Workload } from "./workloads/workload.ts";
import { World } from "./world/world.ts";
import { simPolicy } from "./world/object.ts";

/** How much of a run is what. */
export interface RunOptions {
  readonly seed: number;
  readonly profile: Profile;
  /** Events of the phase with faults. */
  readonly events: number;
  readonly mutant?: Mutant | null;
  /** Receives each line of the event log. */
  readonly onLog?: (line: string) => void;
}

/** What a run came to. */
export interface RunResult {
  readonly seed: number;
  readonly hash: string;
  readonly events: number;
  readonly virtualMs: number;
  /** Readers of streams, each with all the connections on which it left and came back. */
  readonly readers: number;
  readonly violations: readonly Violation[];
  readonly faults: ReadonlyMap<string, number>;
  readonly points: ReadonlyMap<string, number>;
}

/** Virtual time within which everything must come to rest once it has healed, ms: a deadline, its grace and the watchdog's bounds. */
const restMs = 400_000;
/** Events within which it must. */
const restEvents = 40_000;

/** Whether nobody waits, nothing runs, and all is delivered. */
export function isAtRest(world: World, workload: Pick<Workload, "isIdle">): boolean {
  if (!workload.isIdle) return false;
  for (const shard of world.shards.values()) if (shard.running > 0) return false;
  for (const cell of world.cells.values()) {
    if (cell.process === null || (cell.registry?.runningCount() ?? 0) > 0) return false;
  }
  for (const node of world.objects.values()) {
    const { head } = node.durable;
    if (head === null) continue;
    if (
      head.runningTurnRandom !== null ||
      (head.move?.endedAtMs === null && head.erasure === "none")
    )
      return false;
    if (hasDelivery({ store: node.durable, nowMs: 0, policy: simPolicy })) return false;
  }
  return true;
}

/** One seed: a phase with faults, then one in which all heals and must come to rest, then the checks of the whole history. */
export async function simulate(options: RunOptions): Promise<RunResult> {
  const kernel = new Kernel(options.seed);
  kernel.onLog = options.onLog ?? null;
  const startedAtMs = kernel.nowMs;
  const world = new World(kernel, options.profile, options.mutant ?? null);
  const { recorder } = world;
  const workload = new Workload(world);
  const isBroken = (): boolean => recorder.violations.length > 0;
  workload.start();
  startChaos(world);
  await kernel.run(isBroken, startedAtMs + 600_000, options.events);
  if (!isBroken()) {
    kernel.log("world", "heals");
    world.faults.isHealed = true;
    workload.stop();
    for (const node of world.objects.values()) if (node.durable.head !== null) node.open();
    if ([...world.databases.values()].some(({ restores }) => restores > 0)) {
      await kernel.run(() => workload.isIdle || isBroken(), kernel.nowMs + restMs, Infinity);
      workload.nudge();
    }
    let isQuiet = false;
    const watch = (): void => {
      isQuiet = isAtRest(world, workload);
      if (!isQuiet) kernel.at(500, null, "watch", watch);
    };
    watch();
    await kernel.run(
      () => isQuiet || isBroken(),
      kernel.nowMs + restMs,
      kernel.events + restEvents,
    );
    // What is still under way but leaves nothing behind: a Worker's settlement, a cell's late look.
    const settledMs = kernel.nowMs + 12_000;
    if (!isBroken()) await kernel.run(isBroken, settledMs, kernel.events + restEvents);
    if (!isBroken()) {
      checkRest(world);
      world.expireReservations();
      checkHistory(world);
    }
  }
  for (const node of world.objects.values()) node.instance?.process.kill();
  return {
    seed: options.seed,
    hash: kernel.hash,
    events: kernel.events,
    virtualMs: kernel.nowMs - startedAtMs,
    readers: world.conversations.readers.length,
    violations: recorder.violations,
    faults: world.faults.counts,
    points: recorder.points,
  };
}
