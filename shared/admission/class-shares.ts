import { priorities } from "../config/topology.ts";
import type { Priority } from "../config/topology.ts";
import { waterLevel } from "./water-level.ts";

/** Work by class, per second. */
export type ClassRates = Readonly<Record<Priority, number>>;

/** How a capacity is shared out. */
export interface ClassShares {
  /** Most that one tenant has of all classes together, before others have what they ask for; Infinity where all fit. */
  readonly cap: number;
  /** Of what tenants ask for below the cap, most that each has of a class. */
  readonly levels: ClassRates;
  /** Whether a tenant asks for more than the cap. */
  readonly hasExcess: boolean;
}

/**
 * Part of the capacity up to which one tenant's work is ordered by class alone, whatever its fair share is (our choice;
 * docs/decisions/0015-who-asks-for-too-much-waits.md).
 */
const classShare = 0.25;

const everything: ClassRates = {
  critical: Number.POSITIVE_INFINITY,
  interactive: Number.POSITIVE_INFINITY,
  standard: Number.POSITIVE_INFINITY,
  batch: Number.POSITIVE_INFINITY,
};

/** All fit. */
export const noLimit: ClassShares = {
  cap: Number.POSITIVE_INFINITY,
  levels: everything,
  hasExcess: false,
};

/** Work up to a class, it and all more important ones, per second. */
export function rateUpTo(rates: ClassRates, priority: Priority): number {
  let sum = 0;
  for (const one of priorities) {
    sum += rates[one];
    if (one === priority) return sum;
  }
  return sum;
}

/** Work of all classes, per second. */
export function rateOf(rates: ClassRates): number {
  return rateUpTo(rates, "batch");
}

/**
 * Most that one tenant has of `capacity` before the others: its max-min fair share over all classes, and a quarter where that is
 * more. Infinity where all fit.
 */
export function tenantCap(totals: readonly number[], capacity: number): number {
  return Math.max(classShare * capacity, waterLevel(totals, capacity));
}

/** What of a class is below the cap, when the cap is filled with the most important work. */
function belowCap(rates: ClassRates, priority: Priority, cap: number): number {
  const upTo = rateUpTo(rates, priority);
  return Math.max(0, Math.min(upTo, cap) - (upTo - rates[priority]));
}

/**
 * Shares `capacity` out: to each tenant up to the cap, class by class, in a class by max-min fairness. A class has what those
 * above it leave. O(tenants) for most.
 */
export function shareOut(tenants: readonly ClassRates[], capacity: number): ClassShares {
  const totals = tenants.map(rateOf);
  const cap = tenantCap(totals, capacity);
  if (cap === Number.POSITIVE_INFINITY) return noLimit;
  let left = capacity;
  const levelOf = (priority: Priority): number => {
    const asked = tenants.map((rates) => belowCap(rates, priority, cap));
    const level = waterLevel(asked, left);
    left = asked.reduce((rest, one) => Math.max(0, rest - one), left);
    return level;
  };
  // In this order: a class has what those above it leave.
  const critical = levelOf("critical");
  const interactive = levelOf("interactive");
  const standard = levelOf("standard");
  const levels = { critical, interactive, standard, batch: levelOf("batch") };
  return { cap, levels, hasExcess: totals.some((total) => total > cap) };
}

/** What a tenant is to have of a class, per second; no more than it asks for. */
export function shareIn(rates: ClassRates, priority: Priority, shares: ClassShares): number {
  return Math.min(belowCap(rates, priority, shares.cap), shares.levels[priority]);
}
