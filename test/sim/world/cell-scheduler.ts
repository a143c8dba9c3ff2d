import type { Scheduler, Slot, SlotReply } from "#regional/scheduler/scheduler.ts";
import type { ShardId } from "#shared/residency/brands.ts";
import type { Process } from "../process.ts";
import type { World } from "./world.ts";

/** Turns that hold a slot of a shard. */
export type SlotBook = Map<ShardId, number>;

/** Turns that one shard runs at once. */
const slotsMax = 6;

/** How soon a cell knows that a shard is back, ms: as its prober does. */
const probeMs = 2_000;

/** Chooses a shard as a cell's scheduler does, as far as a turn can tell: the home first, never one twice, never above the cap. A begun answer that waits is given one that is up. */
export function createSimScheduler(
  world: World,
  process: Process,
  shards: readonly ShardId[],
  book: SlotBook,
): Scheduler {
  const { kernel, recorder } = world;
  const hasWarmNeighbour = (): boolean =>
    [...world.cells.values()].some(
      ({ plan, process: other }) =>
        plan.zone === process.zone &&
        other !== process &&
        other !== null &&
        plan.shards.some((id) => world.shards.get(id)?.isDown === false),
    );
  return {
    acquire(request, reply) {
      let isWanted = true;
      const answer = (): void => {
        if (!isWanted) return;
        isWanted = false;
        reply(choose());
      };
      const isUp = (shard: ShardId): boolean => world.shards.get(shard)?.isDown === false;
      const choose = (): SlotReply => {
        const free = shards.filter(
          (id) => !request.excluded.includes(id) && (request.isPatient !== true || isUp(id)),
        );
        if (free.length === 0) return { kind: "none", reason: "noShard", rejected: [] };
        const open = free.filter((shard) => (book.get(shard) ?? 0) < slotsMax);
        if (open.length === 0) return { kind: "none", reason: "queueFull", rejected: [] };
        const isHomeOpen = request.homeShard !== null && open.includes(request.homeShard);
        const shard = isHomeOpen
          ? (request.homeShard as ShardId)
          : kernel.random("scheduler").pick(open);
        book.set(shard, (book.get(shard) ?? 0) + 1);
        let isHeld = true;
        const release = (): void => {
          recorder.expect(isHeld, "I-21", () => `${shard}: a slot was released twice`);
          if (!isHeld) return;
          isHeld = false;
          if (world.quirks.has("slotLeaks") && kernel.random("scheduler").chance(0.1)) return;
          book.set(shard, (book.get(shard) ?? 0) - 1);
        };
        const slot: Slot = {
          shard,
          reason: isHomeOpen ? "home" : "chance",
          spill: null,
          score: 0,
          runnersUp: [],
          predicted: {
            ttftSeconds: 0.1,
            interTokenSeconds: 0.01,
            outputTokens: 100,
            outputTokensP90: 400,
          },
          firstToken: () => undefined,
          release,
        };
        return { kind: "chosen", slot, rejected: [], queueWaitMs: 0 };
      };
      if (request.isPatient === true) {
        const look = (): void => {
          const hasRoom = shards.some((id) => isUp(id) && (book.get(id) ?? 0) < slotsMax);
          if (hasRoom) answer();
          else if (isWanted) kernel.at(probeMs, process, "cell.patient", look);
        };
        kernel.at(kernel.random("scheduler").unit() * probeMs, process, "cell.patient", look);
        return () => {
          isWanted = false;
        };
      }
      // A place that is free is often given at once: hedges take no other.
      if (kernel.random("scheduler").chance(0.5)) {
        answer();
        return () => undefined;
      }
      kernel.at(kernel.random("scheduler").unit() * 3, process, "cell.choose", answer);
      return () => {
        isWanted = false;
      };
    },
    elsewhere: ({ excluded }) => ({
      hasRoom: shards.some(
        (shard) => !excluded.includes(shard) && (book.get(shard) ?? 0) < slotsMax,
      ),
      hasNeighbour: true,
      // What a cell knows of others is old now and then.
      hasWarmNeighbour: kernel.random("hints").chance(0.1) !== hasWarmNeighbour(),
    }),
    wake: () => undefined,
    waiting: () => new Map(),
    drain: () => undefined,
  };
}
