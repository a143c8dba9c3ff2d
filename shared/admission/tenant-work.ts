import { priorities } from "../config/topology.ts";
import type { Priority } from "../config/topology.ts";
import type { ClassRates } from "./class-shares.ts";
import { ranksPerClass } from "./shed-cohorts.ts";

/** Time constant of what counts as work of late, ms: about the ten seconds that the routing rules look back. */
const tauMs = 10_000;
/** Tenants that are remembered; past it the one longest without work is forgotten. About 600 bytes for each of its classes. */
const tenantsMax = 1_000;
/** Weights grow with time instead of all counts fading with it; they begin anew before they grow too large for a number. */
const weightExponentMax = 30;

interface Lane {
  workTokens: number;
  /** Work by the place in the order of shedding within the class; null while none was told. */
  ranks: Float64Array | null;
}

type Lanes = Record<Priority, Lane>;

/** The part of a tenant's work in a class that goes before a rank, and with it, tokens per second. */
export interface RankRange {
  readonly before: number;
  readonly with: number;
}

function newLanes(): Lanes {
  const lane = (): Lane => ({ workTokens: 0, ranks: null });
  return { critical: lane(), interactive: lane(), standard: lane(), batch: lane() };
}

/**
 * Work of tenants by class, asked for or served, as exponential means per second. It holds no clock. Adding is O(1), reading
 * all O(tenants).
 */
export class TenantWork {
  readonly #tenants = new Map<string, Lanes>();
  #epochMs: number | null = null;

  /** Adds work of `workTokens` > 0, at a place in the order of shedding (shed-cohorts.ts) where there is one. */
  add(
    tenant: string,
    priority: Priority,
    workTokens: number,
    rank: number | null,
    nowMs: number,
  ): void {
    const work = this.#weightAt(nowMs) * workTokens;
    const lanes = this.#tenants.get(tenant) ?? newLanes();
    const lane = lanes[priority];
    lane.workTokens += work;
    if (rank !== null) {
      lane.ranks ??= new Float64Array(ranksPerClass);
      lane.ranks[rank] = (lane.ranks[rank] ?? 0) + work;
    }
    // Deleted first, so that the map's order is that of the last work.
    this.#tenants.delete(tenant);
    this.#tenants.set(tenant, lanes);
    if (this.#tenants.size <= tenantsMax) return;
    for (const oldest of this.#tenants.keys()) {
      this.#tenants.delete(oldest);
      return;
    }
  }

  /** Of one tenant; nothing of one that is not remembered. */
  of(tenant: string, nowMs: number): ClassRates {
    return this.#ratesOf(this.#tenants.get(tenant), this.#scaleAt(nowMs));
  }

  /** Of all tenants. */
  all(nowMs: number): readonly (readonly [string, ClassRates])[] {
    const scale = this.#scaleAt(nowMs);
    return [...this.#tenants].map(([tenant, lanes]) => [tenant, this.#ratesOf(lanes, scale)]);
  }

  /** Where a rank stands in what its tenant has in the class: what is of lower ranks goes before it. */
  rangeOf(tenant: string, priority: Priority, rank: number, nowMs: number): RankRange {
    const ranks = this.#tenants.get(tenant)?.[priority].ranks ?? null;
    if (ranks === null) return { before: 0, with: 0 };
    let before = 0;
    for (let other = 0; other < rank; other += 1) before += ranks[other] ?? 0;
    const scale = this.#scaleAt(nowMs);
    return { before: scale * before, with: scale * (before + (ranks[rank] ?? 0)) };
  }

  #ratesOf(lanes: Lanes | undefined, scale: number): ClassRates {
    return {
      critical: scale * (lanes?.critical.workTokens ?? 0),
      interactive: scale * (lanes?.interactive.workTokens ?? 0),
      standard: scale * (lanes?.standard.workTokens ?? 0),
      batch: scale * (lanes?.batch.workTokens ?? 0),
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
    for (const [tenant, lanes] of this.#tenants) {
      let left = 0;
      for (const priority of priorities) {
        const lane = lanes[priority];
        lane.workTokens *= fade;
        left += lane.workTokens;
        for (let rank = 0; rank < (lane.ranks?.length ?? 0); rank += 1) {
          if (lane.ranks !== null) lane.ranks[rank] = (lane.ranks[rank] ?? 0) * fade;
        }
      }
      // Less than a token of it is left.
      if (left < 1) this.#tenants.delete(tenant);
    }
    this.#epochMs = nowMs;
    return 1;
  }
}
