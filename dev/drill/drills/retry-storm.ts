import { check } from "../judge/checks.ts";
import { calm } from "../load/traffic.ts";
import type { Manner } from "../load/traffic.ts";
import { allFlows, bystanders, overloadAbort, targetShards } from "./drill.ts";
import type { Drill } from "./drill.ts";
import { engineFaults } from "./engine-faults.ts";
import { needsTwoShards } from "./one-shard.ts";

/**
 * Clients as one meets them in a storm: each failure is sent again at once, whatever the error says, up to thirty times. They
 * stay so after the fault: a system that such clients hold down is what the drill looks for.
 */
const storming: Manner = { rateFactor: 1, retriesMax: 30, retryPauseMs: 50 };
/** Tries over requests while all shards fail, below which there was no storm. */
const amplificationMin = 3;

/** Every shard of the jurisdiction fails while clients repeat without pause; the clients do not stop repeating afterwards. */
export const retryStorm: Drill = {
  title: "all shards of a jurisdiction answer 503 while its clients repeat every failure at once",
  refuse: needsTwoShards,
  prepare(context) {
    const { log, system, traffic } = context;
    const broken = engineFaults(context, () => targetShards(system), [{ kind: "status-503" }]);
    let before = { tries: 0, due: 0 };
    let during = { tries: 0, due: 0 };
    let isOn = false;
    return {
      killedParts: [],
      async begin() {
        isOn = true;
        for (const { jurisdiction, name } of system.flows)
          traffic.setManner(name, jurisdiction === system.jurisdiction ? storming : calm);
        before = { tries: traffic.tries(), due: traffic.due() };
        await broken.begin();
      },
      hold: () => broken.hold(),
      async end() {
        if (!isOn) return;
        isOn = false;
        during = { tries: traffic.tries() - before.tries, due: traffic.due() - before.due };
        await broken.end();
        log(`${during.tries} tries for ${during.due} requests; the clients go on repeating`);
      },
      checks() {
        const amplification = during.due === 0 ? 0 : during.tries / during.due;
        return [
          ...broken.checks(),
          check(
            "there was a storm",
            amplification >= amplificationMin,
            `${amplification.toFixed(1)} tries for each request`,
          ),
        ];
      },
    };
  },
  expectations: bystanders,
  recovering: allFlows,
  abort: overloadAbort,
};
