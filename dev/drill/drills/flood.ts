import { check } from "../judge/checks.ts";
import { isInteractive } from "../load/flow.ts";
import type { Flow } from "../load/flow.ts";
import { calm } from "../load/traffic.ts";
import { allFlows, bystanders, holdFor, overloadAbort } from "./drill.ts";
import type { Drill } from "./drill.ts";

/** One tenant at a hundred times its rate. */
const rateFactor = 100;
/** What the flood itself must have come to, of that factor: a client that cannot send it proves nothing. */
const sentShareMin = 0.9;
/** The others of the same class share shards with the flood, and queue in turns with it. */
const neighbourShareMin = 0.9;
/**
 * Their standard work, less important than the flood: it is within their share of the cell, and goes before what the flood asks for
 * beyond its own, but for the first five to ten seconds, in which nothing is known of it; of thirty that is up to a third.
 */
const lowerShareMin = 0.7;

/** The interactive flow with the lowest rate in a jurisdiction floods; its neighbour of the same class is who must not notice. */
function flooderOf(flows: readonly Flow[], jurisdiction: string): Flow | undefined {
  return flows
    .filter((flow) => flow.jurisdiction === jurisdiction && isInteractive(flow))
    .toSorted((a, b) => a.perSecond - b.perSecond)[0];
}

/** The other interactive tenants of the flooded jurisdiction. */
function neighboursOf(flows: readonly Flow[], jurisdiction: string): readonly Flow[] {
  const flooder = flooderOf(flows, jurisdiction);
  return flows.filter(
    (flow) => flow.jurisdiction === jurisdiction && isInteractive(flow) && flow !== flooder,
  );
}

/** What other tenants of the flooded jurisdiction send in the standard class. */
function lowerOf(flows: readonly Flow[], jurisdiction: string): readonly Flow[] {
  const flooder = flooderOf(flows, jurisdiction);
  return flows.filter(
    (flow) =>
      flow.jurisdiction === jurisdiction &&
      flow.priority === "standard" &&
      flow.key !== flooder?.key,
  );
}

/** One tenant sends a hundred times what it sent before. */
export const flood: Drill = {
  title: `one tenant sends ${rateFactor} times its rate`,
  refuse: ({ flows, jurisdiction }) =>
    neighboursOf(flows, jurisdiction).length === 0
      ? "it needs two interactive tenants of one jurisdiction, and dev.json holds a key of one; let it start its own system"
      : null,
  prepare({ log, options, signal, system, traffic }) {
    const flooder = flooderOf(system.flows, system.jurisdiction);
    let before = 0;
    let sent = 0;
    let isOn = false;
    const setRate = (factor: number): void => {
      if (flooder !== undefined) traffic.setManner(flooder.name, { ...calm, rateFactor: factor });
    };
    return {
      killedParts: [],
      begin() {
        isOn = true;
        before = traffic.due();
        setRate(rateFactor);
        log(`fault on: ${flooder?.name ?? "?"} at ${rateFactor} times its rate`);
        return Promise.resolve();
      },
      hold: () => holdFor(options.faultSeconds, signal),
      end() {
        if (!isOn) return Promise.resolve();
        isOn = false;
        sent = traffic.due() - before;
        setRate(1);
        log(`fault off; ${sent} requests were due`);
        return Promise.resolve();
      },
      checks() {
        const wanted = Math.floor(
          sentShareMin * rateFactor * (flooder?.perSecond ?? 0) * options.faultSeconds,
        );
        return [
          check("the flood was one", sent >= wanted, `${sent} requests, of ${wanted} wanted`),
        ];
      },
    };
  },
  expectations: (flows, jurisdiction) => [
    ...bystanders(flows, jurisdiction),
    ...neighboursOf(flows, jurisdiction).map(({ name }) => ({
      flow: name,
      shareMin: neighbourShareMin,
    })),
    ...lowerOf(flows, jurisdiction).map(({ name }) => ({ flow: name, shareMin: lowerShareMin })),
  ],
  recovering: allFlows,
  abort: overloadAbort,
};
