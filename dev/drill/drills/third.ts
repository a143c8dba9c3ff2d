import { setTimeout as wait } from "node:timers/promises";
import { check } from "../judge/checks.ts";
import { addFault, clearFaults } from "../system/engine-control.ts";
import { isAlive } from "../system/processes.ts";
import {
  allFlows,
  bystanders,
  holdFor,
  interactiveKeeps,
  strictAbort,
  targetShards,
} from "./drill.ts";
import type { Drill, DrillContext, Fault } from "./drill.ts";
import { needsTwoShards } from "./one-shard.ts";

/** What is left serves the work, at nearly all of its capacity: what ran on the lost shards may go, and what is shed for it. */
const interactiveShareMin = 0.8;
/** A killed engine is started again within a second, the loaded machine of a test run within ten. */
const restartMsMax = 20_000;
const pollMs = 10;

/** A third of the shards of a jurisdiction, rounded up, killed at once and kept dead. */
export const third: Drill = {
  title: "a third of the shards of a jurisdiction die at once and stay away",
  refuse: needsTwoShards,
  prepare: (context) => loss(context),
  expectations: (flows, jurisdiction) => [
    ...bystanders(flows, jurisdiction),
    ...interactiveKeeps(flows, jurisdiction, interactiveShareMin),
  ],
  recovering: allFlows,
  abort: strictAbort,
};

/** The ids of a third of the shards, rounded up: from a place that the seed chooses, one after the other, so that a cell loses two. */
export function chooseThird(ids: readonly string[], random: () => number): readonly string[] {
  const from = Math.floor(random() * ids.length);
  return ids
    .map((_, index) => ids[(from + index) % ids.length] ?? "")
    .slice(0, Math.ceil(ids.length / 3));
}

function loss(context: DrillContext): Fault {
  const shards = targetShards(context.system);
  const victims = chooseThird(
    shards.map(({ id }) => id),
    context.random,
  );
  let killed = 0;
  let isOn = false;

  function urlOf(id: string): string {
    return shards.find((shard) => shard.id === id)?.url ?? "";
  }

  /** Kills the process, and makes the one that the supervisor starts in its place refuse every connection. */
  async function lose(id: string): Promise<void> {
    const pid = targetShards(context.system).find((shard) => shard.id === id)?.pid;
    if (pid === undefined) throw new Error(`${id} is no process of this machine`);
    process.kill(pid, "SIGKILL");
    killed += 1;
    const until = performance.now() + restartMsMax;
    while (performance.now() < until && isOn) {
      try {
        await addFault(urlOf(id), { kind: "refuse", scope: "all" });
        return;
      } catch {
        await wait(pollMs);
      }
    }
  }

  return {
    killedParts: victims,
    async begin() {
      isOn = true;
      context.log(`fault on: ${victims.join(" and ")} killed and kept away`);
      await Promise.all(victims.map(lose));
    },
    hold: () => holdFor(context.options.faultSeconds, context.signal),
    async end() {
      if (!isOn) return;
      isOn = false;
      await Promise.all(victims.map((id) => clearFaults(urlOf(id))));
      context.log("fault off: they accept connections again");
    },
    checks() {
      const alive = targetShards(context.system).filter(
        ({ id, pid }) => victims.includes(id) && pid !== undefined && isAlive(pid),
      );
      return [
        check("the fault hit shards", killed === victims.length, `${killed} processes killed`),
        check(
          "the supervisor started the killed shards again",
          alive.length === victims.length,
          `${alive.length} of ${victims.length} run`,
        ),
      ];
    },
  };
}
