import { fleetCapacity, usefulBatch } from "./replica-capacity.ts";
import type { UsefulBatch } from "./replica-capacity.ts";
import type { FleetOffer } from "./elastic-fleet.ts";
import type { TraceRequest } from "./request-trace.ts";

/** What the requests of a trace ask for. */
export interface RequestShape {
  readonly inputTokensMean: number;
  readonly inputTokensP99: number;
  readonly outputTokensMean: number;
  /** Tokens of the longest prompt with its answer. */
  readonly contextTokensMost: number;
}

/** Means and extremes of requests; there is one at least. */
export function shapeOf(requests: readonly TraceRequest[]): RequestShape {
  const mean = (read: (request: TraceRequest) => number): number =>
    requests.reduce((sum, request) => sum + read(request), 0) / requests.length;
  const inputs = requests.map(({ inputTokens }) => inputTokens).toSorted((a, b) => a - b);
  return {
    inputTokensMean: mean(({ inputTokens }) => inputTokens),
    inputTokensP99: inputs[Math.ceil(0.99 * inputs.length) - 1] ?? 0,
    outputTokensMean: mean(({ outputTokens }) => outputTokens),
    contextTokensMost: requests.reduce(
      (most, { inputTokens, outputTokens }) => Math.max(most, inputTokens + outputTokens),
      0,
    ),
  };
}

/** What one replica of an offer does of such requests. */
export interface OfferSpeed {
  readonly offer: FleetOffer;
  /** With every prefix cached that one infinite cache would have: an estimate. */
  readonly requestsPerSecond: number;
  /** The same in replicas of the fleet's first offer: what the plan counts. */
  readonly unitsPerReplica: number;
  readonly batch: UsefulBatch;
}

/** The speed of every offer, in the order of the fleet; the first one's replica is the unit. */
export function offerSpeeds(
  requests: readonly TraceRequest[],
  offers: readonly FleetOffer[],
): readonly OfferSpeed[] {
  const { inputTokensMean, outputTokensMean } = shapeOf(requests);
  const speeds = offers.map((offer) => fleetCapacity(requests, [offer]));
  const unit = speeds[0] ?? 1;
  return offers.map((offer, index) => ({
    offer,
    requestsPerSecond: speeds[index] ?? unit,
    unitsPerReplica: (speeds[index] ?? unit) / unit,
    batch: usefulBatch(offer, Math.max(1, inputTokensMean + outputTokensMean / 2)),
  }));
}
