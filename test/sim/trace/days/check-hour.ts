import type { Trace } from "#dev/capacity/request-trace.ts";
import { seededRandom } from "#dev/simulated-engine/model/step-time.ts";
import { priorities } from "#shared/config/topology.ts";
import type { Priority } from "#shared/config/topology.ts";
import { defaultSelectionPolicy } from "#shared/routing/selection-policy.ts";
import type { ClassShares } from "#shared/scaling/fleet-demand.ts";
import { percentiles } from "../measure.ts";
import { noParts, policies } from "../policies/catalogue.ts";
import { replay } from "../replay.ts";
import type { Arrival } from "../workload.ts";
import { flowStepMs } from "./day-run.ts";
import type { DayOffer, DayRun } from "./day-run.ts";

/** A class in the flow and request by request. */
export interface HourFigures {
  readonly ttftP50Seconds: number;
  readonly ttftP99Seconds: number;
  readonly sloMissShare: number;
  readonly shedShare: number;
}

/** An hour both ways, by class. */
export interface HourCheck {
  readonly requests: number;
  readonly flow: Readonly<Record<Priority, HourFigures>>;
  readonly replayed: Readonly<Record<Priority, HourFigures>>;
}

/** Before the hour, so that engines are not empty when it begins, ms. */
const leadMs = 300_000;
const tenants = 20;

function drawClass(shares: ClassShares, random: () => number): Priority {
  let left = random();
  for (const priority of priorities) {
    left -= shares[priority];
    if (left < 0) return priority;
  }
  return "batch";
}

/** Single requests for the amounts of the flow: as many, anywhere in their step, like those of the trace's second half. */
function arrivalsOf(
  { arrivals }: DayRun,
  fromMs: number,
  untilMs: number,
  trace: Trace,
  shares: ClassShares,
  random: () => number,
): readonly Arrival[] {
  const half = trace.requests.slice(Math.floor(trace.requests.length / 2));
  const drawn: Arrival[] = [];
  let carried = 0;
  for (let step = Math.floor(fromMs / flowStepMs); step * flowStepMs < untilMs; step += 1) {
    carried += arrivals[step] ?? 0;
    const count = Math.floor(carried);
    carried -= count;
    for (let index = 0; index < count; index += 1) {
      const request = half[Math.floor(random() * half.length)];
      if (request === undefined) continue;
      drawn.push({
        atMs: (step + random()) * flowStepMs - fromMs,
        thinkMs: 0,
        request,
        priority: drawClass(shares, random),
        tenant: Math.floor(random() ** 2 * tenants),
        after: -1,
      });
    }
  }
  return drawn.toSorted((left, right) => left.atMs - right.atMs);
}

/**
 * Replays an hour of a region request by request, with the replicas that the flow had, when it had them; called back replicas end
 * what they have begun. `run` counted that hour alone.
 */
export function checkHour(
  run: DayRun,
  hourMs: number,
  offers: readonly DayOffer[],
  trace: Trace,
  shares: ClassShares,
  seed: number,
): HourCheck {
  const fromMs = Math.max(0, hourMs - leadMs);
  const untilMs = hourMs + 3_600_000;
  const random = seededRandom(seed * 15_485_863 + 17);
  const arrivals = arrivalsOf(run, fromMs, untilMs, trace, shares, random);
  const alive = run.lifetimes.filter((one) => one.readyAtMs < untilMs && one.untilMs > fromMs);
  const fleet = alive.flatMap(({ offer: name }, at) => {
    const offer = offers.find((one) => one.offer.name === name)?.offer;
    if (offer === undefined) return [];
    const { concurrentRequestsMax, profile, usdPerHour } = offer;
    return [{ id: `${name}-${at}`, profile, concurrentRequestsMax, usdPerHour }];
  });
  const policy = policies["meridian"];
  if (policy === undefined) throw new RangeError("policy meridian: got none");
  const { records } = replay({
    arrivals,
    fleet,
    // The flow knows no hedges, levels or health: it is compared with a cell that has none.
    policy: { ...policy, parts: noParts },
    seed,
    hasAdmission: true,
    fault: null,
    lifetimes: alive.map(({ readyAtMs, untilMs: endMs }) => ({
      readyAtMs: readyAtMs - fromMs,
      untilMs: endMs - fromMs,
    })),
  });
  const counted = arrivals.flatMap(({ priority }, at) => {
    const record = records[at];
    return record === undefined || record.arrivedAtMs < hourMs - fromMs
      ? []
      : [{ priority, record }];
  });
  const replayed = (priority: Priority): HourFigures => {
    const own = counted.filter((one) => one.priority === priority);
    const seconds = own
      .filter(({ record }) => record.firstAtMs >= 0)
      .map(({ record }) => (record.firstAtMs - record.arrivedAtMs) / 1_000);
    const promised = defaultSelectionPolicy.ttftSloSeconds[priority];
    const { p50, p99 } = percentiles(seconds);
    const all = Math.max(1, own.length);
    return {
      ttftP50Seconds: p50,
      ttftP99Seconds: p99,
      sloMissShare: 1 - seconds.filter((one) => one <= promised).length / all,
      shedShare: own.filter(({ record }) => record.outcome === "shed").length / all,
    };
  };
  const flowed = (priority: Priority): HourFigures => {
    const { good, offered, served, shed, ttft } = run.classes[priority];
    return {
      ttftP50Seconds: ttft.quantile(0.5),
      ttftP99Seconds: ttft.quantile(0.99),
      sloMissShare: Math.round((1e9 * (served - good + shed)) / Math.max(1, offered)) / 1e9,
      shedShare: shed / Math.max(1, offered),
    };
  };
  const each = (read: (priority: Priority) => HourFigures): Record<Priority, HourFigures> => ({
    critical: read("critical"),
    interactive: read("interactive"),
    standard: read("standard"),
    batch: read("batch"),
  });
  return { requests: counted.length, flow: each(flowed), replayed: each(replayed) };
}
