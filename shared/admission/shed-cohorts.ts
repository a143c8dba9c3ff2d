import type { Priority } from "../config/topology.ts";
import { hash64 } from "../routing/hash.ts";

/** Cohorts of users in each class. */
const cohortsCount = 32;
/** A class has its later turns, then its first ones. */
export const ranksPerClass = 2 * cohortsCount;
/** Cohorts change places each hour, so that nobody is shed for good, and nobody more than others. */
const rotationMs = 3_600_000;

/** Whose turn it is, for what is shed first. */
export interface ShedSubject {
  readonly tenant: string;
  /** Who or what of the tenant asks: the prompt's affinity key, made of its cache key, else its user, else its beginning. */
  readonly user: string;
  readonly priority: Priority;
  readonly isLaterTurn: boolean;
}

/**
 * The place of a turn in the order of shedding within its class and tenant, 0 (last) to 63 (first): first turns before later
 * ones, then by the user's cohort. Within an hour a user is always of the same cohort: few users are shed, not everyone at
 * random.
 */
export function cohortRank(subject: Omit<ShedSubject, "priority">, nowMs: number): number {
  const hour = Math.floor(nowMs / rotationMs);
  const cohort = hash64(`${subject.tenant}/${subject.user}/${hour}`).low % cohortsCount;
  return (subject.isLaterTurn ? 0 : cohortsCount) + cohort;
}
