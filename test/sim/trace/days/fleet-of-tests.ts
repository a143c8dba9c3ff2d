import { profiles } from "#dev/simulated-engine/model/profiles.ts";
import type { FleetOffer, FleetRegion } from "#dev/capacity/elastic-fleet.ts";
import type { DayOffer } from "./day-run.ts";
import type { EngineCurve } from "./engine-curve.ts";
import { levels } from "./engine-curve.ts";

/** A trace in CSV of short requests that vary, one every 50 ms. */
export function traceText(count: number): string {
  const lines = Array.from(
    { length: count },
    (_, at) => `${50 * at},${200 + ((37 * at) % 800)},${20 + ((13 * at) % 120)}`,
  );
  return `t_ms,input_tokens,output_tokens\n${lines.join("\n")}\n`;
}

/** A region of one's own. */
export const region: FleetRegion = { name: "here", demandShare: 1, priceFactor: 1, replicasMin: 2 };

/** An offer whose replicas do one request a second and start in 60 s; with what a test changes. */
export function dayOffer(name: string, change: Partial<FleetOffer> = {}): DayOffer {
  const offer: FleetOffer = {
    name,
    kind: "onDemand",
    profile: profiles["a100-8b"],
    concurrentRequestsMax: 8,
    usdPerHour: 3_600,
    replicasMax: 1_000,
    coldStart: { medianSeconds: 60, sigma: 0, slowShare: 0, slowMedianSeconds: 60 },
    reclaim: null,
    source: "a test",
    asOf: "2026-11",
    ...change,
  };
  return { offer, unitsPerReplica: 1, estimatedPerSecond: 1, requestsPerSecond: 1 };
}

/** Replicas that answer after 0.1 s whatever their load. */
export const curve: EngineCurve = {
  requestsPerSecond: 1,
  promptsPerSecond: 2,
  residenceSeconds: 2,
  busyResidenceSeconds: 4,
  loads: [0.5],
  latencies: [levels.map(() => 0.1)],
};
