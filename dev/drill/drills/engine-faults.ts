import { check } from "../judge/checks.ts";
import type { Check } from "../judge/checks.ts";
import { addFault, clearFaults, countHits } from "../system/engine-control.ts";
import type { EngineFault } from "../system/engine-control.ts";
import { holdFor } from "./drill.ts";
import type { DrillContext, Fault } from "./drill.ts";

/** A shard that a fault hits. */
interface Victim {
  readonly id: string;
  readonly url: string;
}

/** Faults of simulated engines, on all victims at once; who they are is asked when the fault begins. */
export function engineFaults(
  context: DrillContext,
  choose: () => readonly Victim[],
  faults: readonly EngineFault[],
): Fault {
  let victims: readonly Victim[] = [];
  let hits = 0;
  let isOn = false;
  return {
    killedParts: [],
    async begin() {
      isOn = true;
      victims = choose();
      const names = victims.map(({ id }) => id).join(", ");
      context.log(`fault on: ${faults.map(({ kind }) => kind).join(" and ")} at ${names}`);
      await Promise.all(
        victims.map(async ({ url }) => {
          for (const fault of faults) await addFault(url, fault);
        }),
      );
    },
    hold: () => holdFor(context.options.faultSeconds, context.signal),
    async end() {
      if (!isOn) return;
      isOn = false;
      const counts = await Promise.all(victims.map(({ url }) => countHits(url)));
      hits = counts.reduce((sum, count) => sum + count, 0);
      await Promise.all(victims.map(({ url }) => clearFaults(url)));
      context.log(`fault off; it hit ${hits} requests`);
    },
    checks: () => [hitSomething(hits)],
  };
}

/** A fault that no request met proves nothing. */
export function hitSomething(hits: number): Check {
  return check("the fault hit requests", hits > 0, `${hits} requests`);
}
