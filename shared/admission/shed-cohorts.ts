import { priorities } from "../config/topology.ts";
import type { Priority } from "../config/topology.ts";
import { hash64 } from "../routing/hash.ts";

/** Cohorts of users in each class. */
const cohortsCount = 32;
/** A class has its later turns, then its first ones. */
const ranksPerClass = 2 * cohortsCount;
const ranksCount = priorities.length * ranksPerClass;
/** Cohorts change places each hour, so that nobody is shed for good, and nobody more than others. */
const rotationMs = 3_600_000;
/** The arrivals that count: ten buckets of a second. */
const bucketsCount = 10;
const bucketMs = 1_000;

/** Whose turn it is, for what is shed first. */
export interface ShedSubject {
  readonly tenant: string;
  /** Who or what of the tenant asks: the prompt's affinity key, made of its cache key, else its user, else its beginning. */
  readonly user: string;
  readonly priority: Priority;
  readonly isLaterTurn: boolean;
}

/**
 * The place of a turn in the order of shedding, 0 (last) to 255 (first): by class, in a class first turns before later ones,
 * then by the user's cohort. Within an hour a user is always of the same cohort: few users are shed, not everyone at random.
 */
export function shedRank(subject: ShedSubject, nowMs: number): number {
  const hour = Math.floor(nowMs / rotationMs);
  const cohort = hash64(`${subject.tenant}/${subject.user}/${hour}`).low % cohortsCount;
  const first = subject.isLaterTurn ? 0 : cohortsCount;
  return priorities.indexOf(subject.priority) * ranksPerClass + first + cohort;
}

/** Counts of the arrivals of the last 10 s by rank. */
export class ShedCohorts {
  readonly #sums = new Uint32Array(ranksCount);
  readonly #buckets: { second: number; readonly counts: Uint32Array }[] = [];
  #total = 0;

  constructor() {
    for (let index = 0; index < bucketsCount; index += 1) {
      this.#buckets.push({ second: -1, counts: new Uint32Array(ranksCount) });
    }
  }

  arrived(rank: number, nowMs: number): void {
    const second = Math.floor(nowMs / bucketMs);
    this.#forget(second);
    const bucket = this.#buckets[second % bucketsCount];
    if (bucket === undefined) return;
    bucket.second = second;
    bucket.counts[rank] = (bucket.counts[rank] ?? 0) + 1;
    this.#sums[rank] = (this.#sums[rank] ?? 0) + 1;
    this.#total += 1;
  }

  /**
   * Whether an arrival of `rank` is among the share `ratio` of the arrivals that is shed first. The rank in which the border
   * lies is shed in part, by lot. Critical turns are never shed here.
   */
  isShed(rank: number, ratio: number, nowMs: number, random: () => number): boolean {
    if (!(ratio > 0) || rank < ranksPerClass) return false;
    this.#forget(Math.floor(nowMs / bucketMs));
    if (this.#total === 0) return random() < ratio;
    let before = 0;
    for (let other = rank + 1; other < ranksCount; other += 1) before += this.#sums[other] ?? 0;
    const shedFirst = before / this.#total;
    if (shedFirst >= ratio) return false;
    const own = (this.#sums[rank] ?? 0) / this.#total;
    if (shedFirst + own <= ratio) return true;
    return random() * own < ratio - shedFirst;
  }

  #forget(second: number): void {
    for (const bucket of this.#buckets) {
      if (bucket.second < 0 || second - bucket.second < bucketsCount) continue;
      for (let rank = 0; rank < ranksCount; rank += 1) {
        const count = bucket.counts[rank] ?? 0;
        this.#sums[rank] = (this.#sums[rank] ?? 0) - count;
        this.#total -= count;
      }
      bucket.counts.fill(0);
      bucket.second = -1;
    }
  }
}
