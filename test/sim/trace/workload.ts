import { seededRandom } from "#dev/simulated-engine/model/step-time.ts";
import { priorities } from "#shared/config/topology.ts";
import type { Priority } from "#shared/config/topology.ts";
import { fleetCapacity } from "#dev/capacity/replica-capacity.ts";
import type { FleetShard } from "./fleet.ts";
import type { Trace, TraceRequest } from "#dev/capacity/request-trace.ts";

/** A request placed in virtual time. */
export interface Arrival {
  /** When it comes if it waits for nobody, ms. */
  readonly atMs: number;
  /** After the end of the request that it waits for, ms. */
  readonly thinkMs: number;
  readonly request: TraceRequest;
  readonly priority: Priority;
  readonly tenant: number;
  /** Position of the arrival that has to end first; -1: none. */
  readonly after: number;
}

/** Which requests of a trace are replayed: parameters are chosen on one half and reported on the other. */
export type TracePart = "whole" | "first" | "second";

/** What a workload is made from. */
export interface WorkloadInput {
  readonly trace: Trace;
  readonly part: TracePart;
  readonly fleet: readonly FleetShard[];
  readonly seed: number;
  /** Offered work / what the fleet can do; null: times as recorded. */
  readonly load: number | null;
  /** Shares of the four classes; null: all are interactive. */
  readonly mix: readonly number[] | null;
  /**
   * One tenant sends what exceeds {@link calmLoad} for the middle third, in these shares of the classes; null: nobody does. The
   * others send {@link calmLoad} all the time.
   */
  readonly floodMix: readonly number[] | null;
}

/** Share of a part that one seed replays: each takes another stretch of it, or other sessions. */
const stretchShare = 0.8;
/** Thinking beyond this is cut, ms: a fleet kept busy with day-long sessions would have to hold thousands of them. */
const thinkMsMax = 15_000;
/** Without a load sessions begin within this time, ms. */
const sessionSpreadMs = 4 * 3_600_000;
const tenants = 20;
/** Between the keys of one copy of a trace and the next: more than any trace has. */
const copyStride = 1e9;
/** Load of all tenants but the flooding one. */
export const calmLoad = 0.8;
/** Who floods. */
export const floodTenant = tenants;

interface Placed {
  readonly atMs: number;
  readonly thinkMs: number;
  readonly request: TraceRequest;
  /** Requests of one lane follow each other; null: it waits for nobody. */
  readonly lane: string | null;
}

/** Places a stretch of the trace in virtual time, with classes and tenants drawn by the seed. Deterministic. */
export function makeWorkload(input: WorkloadInput): readonly Arrival[] {
  const random = seededRandom(input.seed * 7_919 + 1);
  const own = stretchOf(input.trace, input.part, random);
  // A fleet that is asked for three times too much would be done with a stretch in a third of the time: too short to settle.
  const requests = repeated(own, Math.max(1, Math.ceil(input.load ?? 1)), input.trace);
  // Seconds in which the fleet could do all of it.
  const fullSeconds =
    requests.length /
    fleetCapacity(
      requests,
      input.fleet.filter(({ isSmaller = false }) => !isSmaller),
    );
  const spanMs = input.load === null ? null : (fullSeconds * 1_000) / input.load;
  const placed = input.trace.hasSessionTimes
    ? placeSessions(requests, spanMs ?? sessionSpreadMs, random)
    : placeRecorded(requests, spanMs);
  const owners = new Map<number, { readonly priority: Priority; readonly tenant: number }>();
  const lastOfLane = new Map<string, number>();
  const { floodMix } = input;
  const endMs = placed.at(-1)?.atMs ?? 0;
  const arrivals: Arrival[] = [];
  for (const { atMs, lane, request, thinkMs } of placed) {
    const { session } = request;
    const isOver = floodMix !== null && random() < 1 - calmLoad / (input.load ?? 1);
    const isFlood = isOver && atMs >= endMs / 3 && atMs < (2 * endMs) / 3;
    if (isOver && !isFlood) continue;
    const owner = owners.get(session) ?? {
      priority: drawClass(input.mix, random),
      // Few tenants make most of the traffic: the square of a uniform draw.
      tenant: Math.floor(random() ** 2 * tenants),
    };
    if (session >= 0) owners.set(session, owner);
    const after = lane === null ? -1 : (lastOfLane.get(lane) ?? -1);
    if (lane !== null) lastOfLane.set(lane, arrivals.length);
    const own = isFlood ? { priority: drawClass(floodMix, random), tenant: floodTenant } : owner;
    arrivals.push({ atMs, thinkMs, request, after, ...own });
  }
  return arrivals;
}

/** The seed's requests of a part: a stretch of time, or some of its sessions; halves share no session and no time. */
function stretchOf(
  { requests, hasSessionTimes }: Trace,
  part: TracePart,
  random: () => number,
): readonly TraceRequest[] {
  if (hasSessionTimes) {
    const isTaken = new Map<number, boolean>();
    const parity = { whole: null, first: 0, second: 1 }[part];
    return requests.filter(({ session }) => {
      if (!isTaken.has(session))
        isTaken.set(session, session % 2 === (parity ?? session % 2) && random() < stretchShare);
      return isTaken.get(session) === true;
    });
  }
  const middle = Math.floor(requests.length / 2);
  const bounds = {
    whole: [0, requests.length],
    first: [0, middle],
    second: [middle, requests.length],
  } as const;
  const own = requests.slice(...bounds[part]);
  const count = Math.ceil(own.length * stretchShare);
  const from = Math.floor(random() * (own.length - count + 1));
  return own.slice(from, from + count);
}

/** The requests so many times over as other sessions with other prompts, one after the other where times are recorded. */
function repeated(
  requests: readonly TraceRequest[],
  times: number,
  { hasSessionTimes }: Trace,
): readonly TraceRequest[] {
  const spanMs = hasSessionTimes ? 0 : (requests.at(-1)?.atMs ?? 0) - (requests[0]?.atMs ?? 0);
  return Array.from({ length: times }, (_, copy) =>
    requests.map((request) => ({
      ...request,
      atMs: request.atMs + copy * spanMs,
      session: request.session < 0 ? request.session : request.session + copy * copyStride,
      chunks: request.chunks.map((key) => key + copy * copyStride),
    })),
  ).flat();
}

/** Recorded times, stretched or squeezed to the span. */
function placeRecorded(
  requests: readonly TraceRequest[],
  spanMs: number | null,
): readonly Placed[] {
  const first = requests[0]?.atMs ?? 0;
  const recordedMs = Math.max(1, (requests.at(-1)?.atMs ?? 0) - first);
  const factor = spanMs === null ? 1 : spanMs / recordedMs;
  return requests.map((request) => ({
    atMs: (request.atMs - first) * factor,
    thinkMs: 0,
    request,
    lane: null,
  }));
}

/**
 * Sessions on a ring of `spanMs`: each begins anywhere, and what lies beyond the end comes at the beginning as a conversation
 * that was on its way, so that the load is the same all the time. Within a lane a request waits for the last one and its
 * client's thinking.
 */
function placeSessions(
  requests: readonly TraceRequest[],
  spanMs: number,
  random: () => number,
): readonly Placed[] {
  const clocks = new Map<number, number>();
  return requests
    .map((request) => {
      const { lane, servedMs, session } = request;
      const thinkMs = Math.min(thinkMsMax, request.thinkMs);
      const atMs = (clocks.get(session) ?? random() * spanMs) + thinkMs;
      clocks.set(session, atMs + servedMs);
      const turn = Math.floor(atMs / spanMs);
      return { atMs: atMs - turn * spanMs, thinkMs, request, lane: `${session}/${lane}/${turn}` };
    })
    .toSorted((left, right) => left.atMs - right.atMs);
}

function drawClass(mix: readonly number[] | null, random: () => number): Priority {
  if (mix === null) return "interactive";
  let left = random() * mix.reduce((sum, share) => sum + share, 0);
  for (const [index, share] of mix.entries()) {
    left -= share;
    if (left < 0) return priorities[index] ?? "batch";
  }
  return "batch";
}
