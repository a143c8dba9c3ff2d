import type { ScalingStore, StoredDemand, StoredPlan } from "#regional/ports/scaling-store.ts";

interface Row {
  readonly at: number;
}

/** The store of one region in memory, with a clock of its own, as a database has. It can be away. */
export class MemoryScalingStore implements ScalingStore {
  /** While true every call is answered `unavailable`, and changes nothing. */
  isAway = false;
  readonly #nowMs: () => number;
  #lease: { holder: string; token: number; expiresAtMs: number } | null = null;
  readonly #demand = new Map<string, Omit<StoredDemand, "ageMs"> & Row>();
  readonly #plans = new Map<string, Omit<StoredPlan, "ageMs"> & Row>();

  constructor(nowMs: () => number) {
    this.#nowMs = nowMs;
  }

  async acquire(holder: string, leaseMs: number) {
    if (this.isAway) return "unavailable" as const;
    const nowMs = this.#nowMs();
    const lease = this.#lease;
    const isOver = lease === null || lease.expiresAtMs <= nowMs;
    if (lease !== null && lease.holder !== holder && !isOver) return "held" as const;
    const token = (lease?.token ?? 0) + (isOver ? 1 : 0);
    this.#lease = { holder, token, expiresAtMs: nowMs + leaseMs };
    return { token };
  }

  async release(holder: string) {
    if (!this.isAway && this.#lease?.holder === holder) this.#lease.expiresAtMs = 0;
  }

  async report(cell: string, reports: readonly { model: string; report: string }[]) {
    if (this.isAway) return "unavailable" as const;
    for (const { model, report } of reports) {
      this.#demand.set(`${cell} ${model}`, { cell, model, report, at: this.#nowMs() });
    }
    return "written" as const;
  }

  async demand() {
    if (this.isAway) return "unavailable" as const;
    return [...this.#demand.values()].map(({ at, ...row }) => ({
      ...row,
      ageMs: this.#nowMs() - at,
    }));
  }

  async plans() {
    if (this.isAway) return "unavailable" as const;
    return [...this.#plans.values()].map(({ at, ...row }) => ({
      ...row,
      ageMs: this.#nowMs() - at,
    }));
  }

  async keepPlan(plan: Omit<StoredPlan, "ageMs">) {
    if (this.isAway) return "unavailable" as const;
    const lease = this.#lease;
    if (lease?.token !== plan.token || lease.expiresAtMs <= this.#nowMs()) return "fenced" as const;
    this.#plans.set(plan.model, { ...plan, at: this.#nowMs() });
    return "written" as const;
  }
}
