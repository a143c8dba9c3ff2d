import type { EngineFault } from "../system/engine-control.ts";
import type { DrilledSystem } from "../system/drilled-system.ts";
import { allFlows, bystanders, interactiveKeeps, strictAbort, targetShards } from "./drill.ts";
import type { Drill } from "./drill.ts";
import { engineFaults } from "./engine-faults.ts";

/** One shard of six ill: the others have room for its work, so that interactive work loses what ran on it at most. */
const interactiveShareMin = 0.9;

/** A drill with one ill shard, chosen by the seed among those that answer. */
export function oneShardDrill(title: string, faults: readonly EngineFault[]): Drill {
  return {
    title,
    refuse: needsTwoShards,
    prepare(context) {
      const choose = () => {
        const shards = targetShards(context.system);
        const answering = context.answering();
        const busy = shards.filter(({ id }) => answering.has(id));
        const victim = busy[Math.floor(context.random() * busy.length)] ?? shards[0];
        return victim === undefined ? [] : [victim];
      };
      return engineFaults(context, choose, faults);
    },
    expectations: (flows, jurisdiction) => [
      ...bystanders(flows, jurisdiction),
      ...interactiveKeeps(flows, jurisdiction, interactiveShareMin),
    ],
    recovering: allFlows,
    abort: strictAbort,
  };
}

/** With one shard every fault is the loss of all. */
export function needsTwoShards(system: DrilledSystem): string | null {
  return targetShards(system).length < 2 ? "it needs two simulated shards of one model" : null;
}
