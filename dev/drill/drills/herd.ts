import { check } from "../judge/checks.ts";
import { isInteractive } from "../load/flow.ts";
import { runReconnects, openStreams } from "../load/herd-readers.ts";
import type { HerdCounts } from "../load/herd-readers.ts";
import { allFlows, interactiveKeeps, strictAbort, targetShards } from "./drill.ts";
import type { Drill } from "./drill.ts";

/** Reconnections of one herd. */
const reconnects = 10_000;
/** Of them, those that must go on exactly behind the event they name. */
const exactShareMin = 0.999;
/**
 * The herd's own clients and the system share one small machine, and every reader is held up by the herd itself, so that
 * this drill asks less of the others' goodput while it lasts, and the same afterwards.
 */
const interactiveShareMin = 0.5;

/** All readers of streams come back at once. */
export const herd: Drill = {
  title: `${reconnects.toLocaleString("en")} readers of streams reconnect with Last-Event-ID`,
  refuse: ({ flows, jurisdiction }) =>
    flows.some((flow) => flow.jurisdiction === jurisdiction && isInteractive(flow))
      ? null
      : "it needs an interactive tenant",
  prepare({ log, random, signal, system }) {
    const flow = system.flows.find(
      (one) => one.jurisdiction === system.jurisdiction && isInteractive(one),
    );
    let counts: HerdCounts | null = null;
    return {
      killedParts: [],
      begin: () => Promise.resolve(),
      async hold() {
        if (flow === undefined) return;
        const target = {
          edgeUrl: system.file().edge.url,
          model: system.model,
          flow,
          random,
          signal,
        };
        const slots = Math.max(1, Math.floor(targetShards(system).length / 2));
        const streams = await openStreams(target, slots);
        log(`fault on: ${reconnects} readers of ${streams.length} streams reconnect`);
        counts = await runReconnects(target, streams, reconnects);
        log(`fault off: ${counts.made} reconnects in ${counts.seconds.toFixed(1)} s`);
      },
      end: () => Promise.resolve(),
      checks() {
        if (counts === null) return [check("the herd was one", false, "no reader reconnected")];
        const { codes, exact, exactAtOnce, made, p50Ms, p99Ms, seconds } = counts;
        const others = Object.entries(codes).filter(([code]) => code !== "ok");
        const rate = Math.round(made / Math.max(seconds, 0.001));
        const seen = `${exact} of ${made}, ${exactAtOnce} at once${others.map(([code, count]) => `, ${code} ${count}`).join("")}`;
        return [
          check(
            "the herd was one",
            made === reconnects,
            `${made} reconnects in ${seconds.toFixed(1)} s, ${rate}/s, each over after ${p50Ms} ms (p50), ${p99Ms} ms (p99)`,
          ),
          check(
            `${exactShareMin * 100} % go on exactly behind their last event`,
            exact >= exactShareMin * reconnects,
            seen,
          ),
        ];
      },
    };
  },
  expectations: (flows, jurisdiction) => interactiveKeeps(flows, jurisdiction, interactiveShareMin),
  recovering: allFlows,
  // The edge that the herd keeps full is also the one of the other jurisdictions, on a development machine.
  abort: { ...strictAbort, badSecondsMax: { bystander: 60, interactive: 60 } },
};
