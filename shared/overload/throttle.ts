import { priorities } from "../config/topology.ts";
import type { Priority } from "../config/topology.ts";

/** Turns of each class that came to a cell and that it took, in buckets of ten seconds. Plain data. */
export interface ThrottleWindow {
  /** Number of each bucket since the epoch; a bucket of another number is empty. */
  readonly buckets: readonly ThrottleBucket[];
}

interface ThrottleBucket {
  readonly at: number;
  readonly asked: Readonly<Record<Priority, number>>;
  readonly taken: Readonly<Record<Priority, number>>;
}

/** Share of its turns that a cell wants kept away, by class, 0..1. */
export type ThrottleRatios = Readonly<Record<Priority, number>>;

const bucketMs = 10_000;
/** Two minutes: SRE book, "Handling overload", client-side throttling. */
const bucketCount = 12;
/** The last 20 to 30 s: a cell that takes again what it is asked for is not shunned for two minutes (our choice). */
const recentCount = 3;
/** Of fewer turns in that time nothing is concluded (our choice). */
const recentAskedMin = 3;
/** Fewer turns of a class say nothing of its share (our choice). */
const askedMin = 20;
/** How many times what it takes a cell may be asked; null: never throttled. 2 is the SRE book's, the lower ones our choice. */
const factors: Readonly<Record<Priority, number | null>> = {
  critical: null,
  interactive: 2,
  standard: 1.5,
  batch: 1.2,
};

const none: Readonly<Record<Priority, number>> = {
  critical: 0,
  interactive: 0,
  standard: 0,
  batch: 0,
};

/** Nobody is kept away. */
export const noThrottle: ThrottleRatios = none;

/** Nothing came. */
export function newThrottleWindow(): ThrottleWindow {
  const empty: ThrottleBucket = { at: -1, asked: none, taken: none };
  return { buckets: Array.from({ length: bucketCount }, () => empty) };
}

/** The window once a turn was `asked` for or `taken` at `nowMs`. */
export function withTurn(
  window: ThrottleWindow,
  what: "asked" | "taken",
  priority: Priority,
  nowMs: number,
): ThrottleWindow {
  const at = Math.floor(nowMs / bucketMs);
  const index = at % bucketCount;
  const kept = window.buckets[index];
  const bucket = kept?.at === at ? kept : { at, asked: none, taken: none };
  const counts = { ...bucket[what], [priority]: bucket[what][priority] + 1 };
  return { buckets: window.buckets.with(index, { ...bucket, [what]: counts }) };
}

/**
 * The share of each class that should not be sent: `max(0, (asked - K * taken) / (asked + 1))` over two minutes (SRE book,
 * "Handling overload"), or over the last half minute where that is less: while too much is sent some of it is refused in every
 * half minute, so that a share that is still needed stays. Never of the critical class.
 */
export function throttleRatios(window: ThrottleWindow, nowMs: number): ThrottleRatios {
  const newest = Math.floor(nowMs / bucketMs);
  const since = (count: number): readonly ThrottleBucket[] =>
    window.buckets.filter(({ at }) => at > newest - count && at <= newest);
  const live = since(bucketCount);
  const recent = since(recentCount);
  const ratioOf = (priority: Priority): number => {
    const factor = factors[priority];
    if (factor === null) return 0;
    const sum = (of: readonly ThrottleBucket[], what: "asked" | "taken"): number =>
      of.reduce((total, bucket) => total + bucket[what][priority], 0);
    const ratioIn = (of: readonly ThrottleBucket[]): number => {
      const asked = sum(of, "asked");
      return Math.max(0, (asked - factor * sum(of, "taken")) / (asked + 1));
    };
    if (sum(live, "asked") < askedMin) return 0;
    const isRecent = sum(recent, "asked") >= recentAskedMin;
    return isRecent ? Math.min(ratioIn(live), ratioIn(recent)) : ratioIn(live);
  };
  return {
    critical: 0,
    interactive: ratioOf("interactive"),
    standard: ratioOf("standard"),
    batch: ratioOf("batch"),
  };
}

/** The header's value, in hundredths by the order of the classes; null where nobody is to be kept away. */
export function formatThrottle(ratios: ThrottleRatios): string | null {
  const shares = priorities.map((priority) => Math.floor(100 * ratios[priority]));
  return shares.some((share) => share > 0) ? shares.join(",") : null;
}

/** The ratios in a header; {@link noThrottle} for none, and for what is no such value. */
export function parseThrottle(text: string | null): ThrottleRatios {
  const match = /^(\d{1,2}),(\d{1,2}),(\d{1,2}),(\d{1,2})$/.exec(text ?? "");
  if (match === null) return noThrottle;
  const shareOf = (index: number): number => Number(match[index]) / 100;
  return { critical: 0, interactive: shareOf(2), standard: shareOf(3), batch: shareOf(4) };
}

/** A cell's word is believed in full for this long, then less and less until it says nothing, ms (our choice). */
const believedMs = 10_000;
const forgottenMs = 30_000;

/** What the edge knows of one cell. */
export interface HeardThrottle {
  readonly ratios: ThrottleRatios;
  readonly atMs: number;
}

/** Whether a turn is not sent to a cell. `drawn` is uniform on [0, 1); an old word fades, so that a cell is asked again. */
export function isThrottled(
  heard: HeardThrottle,
  priority: Priority,
  nowMs: number,
  drawn: number,
): boolean {
  const ageMs = Math.max(0, nowMs - heard.atMs);
  const belief = Math.min(1, Math.max(0, (forgottenMs - ageMs) / (forgottenMs - believedMs)));
  return drawn < heard.ratios[priority] * belief;
}
