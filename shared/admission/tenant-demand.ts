import { priorities } from "../config/topology.ts";
import type { Priority } from "../config/topology.ts";
import { cohortRank, ranksPerClass } from "./shed-cohorts.ts";
import type { ShedSubject } from "./shed-cohorts.ts";

/** Time constant of what counts as demand of late, ms: about the ten seconds that the routing rules look back. */
const tauMs = 10_000;
/** Tenants of a class that are remembered; past it the one longest without an arrival is forgotten. About 600 bytes each. */
const tenantsMax = 1_000;
/** Weights grow with time instead of all counts fading with it; they begin anew before they grow too large for a number. */
const weightExponentMax = 30;

interface Lane {
  workTokens: number;
  /** Work by the place in the order of shedding within the class. */
  readonly ranks: Float64Array;
}

/** What one tenant asks for of a class, tokens per second, and which of it would be shed before `subject`. */
export interface TenantAsk {
  readonly rate: number;
  /** Shares of the tenant's work that are shed before the subject's, and with it, 0..1. */
  readonly shareBefore: number;
  readonly shareWith: number;
}

/**
 * What tenants ask for, refused or not, as exponential means of work per second by class and tenant. It holds no clock. Adding
 * is O(1); a class's demands are O(its tenants).
 */
export class TenantDemand {
  readonly #lanes: Readonly<Record<Priority, Map<string, Lane>>> = {
    critical: new Map(),
    interactive: new Map(),
    standard: new Map(),
    batch: new Map(),
  };
  #epochMs: number | null = null;

  /** A turn came that asks for `workTokens` > 0. */
  arrived(subject: ShedSubject, workTokens: number, nowMs: number): void {
    const weight = this.#weightAt(nowMs);
    const lanes = this.#lanes[subject.priority];
    const lane = lanes.get(subject.tenant) ?? {
      workTokens: 0,
      ranks: new Float64Array(ranksPerClass),
    };
    const rank = cohortRank(subject, nowMs);
    const work = weight * workTokens;
    lane.workTokens += work;
    lane.ranks[rank] = (lane.ranks[rank] ?? 0) + work;
    // Deleted first, so that the map's order is that of the last arrivals.
    lanes.delete(subject.tenant);
    lanes.set(subject.tenant, lane);
    if (lanes.size <= tenantsMax) return;
    for (const oldest of lanes.keys()) {
      lanes.delete(oldest);
      return;
    }
  }

  /** What the tenants of a class ask for, tokens per second. */
  ratesOf(priority: Priority, nowMs: number): readonly number[] {
    const scale = this.#scaleAt(nowMs);
    return [...this.#lanes[priority].values()].map(({ workTokens }) => scale * workTokens);
  }

  /** What one tenant asks for of a class, tokens per second. */
  rateOf(priority: Priority, tenant: string, nowMs: number): number {
    return this.#scaleAt(nowMs) * (this.#lanes[priority].get(tenant)?.workTokens ?? 0);
  }

  /** Where a turn stands in what its tenant asks for. */
  askOf(subject: ShedSubject, nowMs: number): TenantAsk {
    const lane = this.#lanes[subject.priority].get(subject.tenant);
    if (lane === undefined || lane.workTokens === 0) {
      return { rate: 0, shareBefore: 0, shareWith: 1 };
    }
    const rank = cohortRank(subject, nowMs);
    let before = 0;
    for (let other = rank + 1; other < ranksPerClass; other += 1) before += lane.ranks[other] ?? 0;
    return {
      rate: this.#scaleAt(nowMs) * lane.workTokens,
      shareBefore: before / lane.workTokens,
      shareWith: (before + (lane.ranks[rank] ?? 0)) / lane.workTokens,
    };
  }

  #scaleAt(nowMs: number): number {
    return 1_000 / (tauMs * this.#weightAt(nowMs));
  }

  #weightAt(nowMs: number): number {
    this.#epochMs ??= nowMs;
    const exponent = (nowMs - this.#epochMs) / tauMs;
    if (exponent <= weightExponentMax) return Math.exp(Math.max(-weightExponentMax, exponent));
    const fade = Math.exp(-exponent);
    for (const priority of priorities) {
      for (const [tenant, lane] of this.#lanes[priority]) {
        lane.workTokens *= fade;
        for (let rank = 0; rank < ranksPerClass; rank += 1) {
          lane.ranks[rank] = (lane.ranks[rank] ?? 0) * fade;
        }
        // Less than a token of it is left.
        if (lane.workTokens < 1) this.#lanes[priority].delete(tenant);
      }
    }
    this.#epochMs = nowMs;
    return 1;
  }
}
