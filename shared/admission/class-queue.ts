import type { AttainedService } from "./attained-service.ts";
import { TenantLine } from "./tenant-line.ts";
import type { LineOrder, Queued } from "./tenant-line.ts";

/** Numbers of the fair share. */
export interface FairSharePolicy {
  /** Tokens that a round gives each waiting tenant at most. */
  readonly quantumTokens: number;
  /** Turns of the mean size of those that wait that a round gives each tenant at most. */
  readonly quantumTurns: number;
  /** Time in which attained service halves, ms. */
  readonly attainedHalfLifeMs: number;
  /** Tenants whose service is remembered. */
  readonly tenantsMax: number;
}

/**
 * The turns of one class that wait for one model. Deficit round robin over tenants (Shreedhar and Varghese 1995) by tokens:
 * a round gives every waiting tenant a quantum, at most a few turns of mean size, and a tenant is served while its deficit covers its next turn. Within a
 * round later turns of conversations go first, then the tenant that has attained least service. So between two turns of a
 * waiting tenant no other one is served more than a quantum and one turn, however much it asks for.
 */
export class ClassQueue<T> {
  readonly #lines = new Map<string, TenantLine<T>>();
  readonly #arrivals = new Set<Queued<T>>();
  /** What is left of the round to tenants whose line has emptied in it: leaving and coming back gives no second quantum. */
  readonly #leftovers = new Map<string, number>();
  readonly #attained: AttainedService;
  readonly #policy: FairSharePolicy;
  #order: LineOrder = "deadlineFirst";
  #workTokens = 0;

  constructor(attained: AttainedService, policy: FairSharePolicy) {
    this.#attained = attained;
    this.#policy = policy;
  }

  get length(): number {
    return this.#arrivals.size;
  }

  get workTokens(): number {
    return this.#workTokens;
  }

  get order(): LineOrder {
    return this.#order;
  }

  setOrder(order: LineOrder): void {
    this.#order = order;
    for (const line of this.#lines.values()) line.setOrder(order);
  }

  add(queued: Queued<T>): void {
    const { costTokens, tenant } = queued.turn;
    let line = this.#lines.get(tenant);
    if (line === undefined) {
      const deficit = this.#leftovers.get(tenant) ?? this.#quantumTokens(queued);
      line = new TenantLine(tenant, deficit, this.#order);
      this.#lines.set(tenant, line);
    }
    line.add(queued);
    this.#arrivals.add(queued);
    this.#workTokens += costTokens;
  }

  /** Takes a turn out without service. */
  remove(queued: Queued<T>): boolean {
    const line = this.#lines.get(queued.turn.tenant);
    if (line === undefined || !line.remove(queued)) return false;
    this.#arrivals.delete(queued);
    this.#workTokens -= queued.turn.costTokens;
    if (line.length > 0) return true;
    this.#lines.delete(line.tenant);
    if (this.#leftovers.size >= this.#policy.tenantsMax) this.#leftovers.clear();
    this.#leftovers.set(line.tenant, line.deficitTokens);
    return true;
  }

  /** Takes a turn out to be served, and charges its tenant. */
  take(queued: Queued<T>): boolean {
    const line = this.#lines.get(queued.turn.tenant);
    if (line !== undefined) line.deficitTokens -= queued.turn.costTokens;
    return this.remove(queued);
  }

  /** The turn to serve next, null when none waits; `passed` are tenants whose head cannot be served now. */
  next(nowMs: number, passed: ReadonlySet<string>): Queued<T> | null {
    let best = this.#affordable(nowMs, passed);
    if (best !== null) return best;
    // The rounds until somebody can afford its head are given in one step.
    const quantumTokens = this.#quantumTokens();
    let rounds = Number.POSITIVE_INFINITY;
    for (const line of this.#lines.values()) {
      if (passed.has(line.tenant)) continue;
      const missing = line.head().turn.costTokens - line.deficitTokens;
      rounds = Math.min(rounds, Math.ceil(missing / quantumTokens));
    }
    if (rounds === Number.POSITIVE_INFINITY) return null;
    this.#leftovers.clear();
    for (const line of this.#lines.values()) this.#give(line, rounds, quantumTokens);
    best = this.#affordable(nowMs, passed);
    return best;
  }

  /** The one that has waited longest. */
  oldest(): Queued<T> | null {
    for (const queued of this.#arrivals) return queued;
    return null;
  }

  /** Of the tenant with most work waiting, the turn that would be served last. */
  mostExpendable(): Queued<T> | null {
    return this.#heaviest()?.last() ?? null;
  }

  /** Of the tenant with most work waiting, the turn that has waited longest. O(n). */
  oldestOfHeaviest(): Queued<T> | null {
    const tenant = this.#heaviest()?.tenant;
    for (const queued of this.#arrivals) if (queued.turn.tenant === tenant) return queued;
    return null;
  }

  workOfTenant(tenant: string): number {
    return this.#lines.get(tenant)?.workTokens ?? 0;
  }

  /**
   * Work that is served before a further turn of `tenant`, tokens: its own, and of every other tenant at most as much again
   * with the turn, because rounds give all the same. Of its own it is served none before while the newest goes first.
   */
  workBefore(tenant: string, costTokens: number): number {
    const own = this.#order === "newestFirst" ? 0 : this.workOfTenant(tenant);
    let sum = own;
    for (const line of this.#lines.values()) {
      if (line.tenant !== tenant) sum += Math.min(line.workTokens, own + costTokens);
    }
    return sum;
  }

  /** All of them, the longest waiting first. */
  all(): readonly Queued<T>[] {
    return [...this.#arrivals];
  }

  #heaviest(): TenantLine<T> | null {
    let heaviest: TenantLine<T> | null = null;
    for (const line of this.#lines.values()) {
      if (heaviest === null || line.workTokens > heaviest.workTokens) heaviest = line;
    }
    return heaviest;
  }

  /**
   * What a round gives a tenant. Small turns on slow shards would make a round of whole quanta last for seconds: a tenant that
   * begins to flood would be served for as long before its neighbours.
   */
  #quantumTokens(coming?: Queued<T>): number {
    const work = this.#workTokens + (coming?.turn.costTokens ?? 0);
    const count = this.#arrivals.size + (coming === undefined ? 0 : 1);
    return Math.min(this.#policy.quantumTokens, (this.#policy.quantumTurns * work) / count);
  }

  #give(line: TenantLine<T>, rounds: number, quantumTokens: number): void {
    // One that cannot be served now saves no more than it needs for its next turn and a quantum.
    const most = line.head().turn.costTokens + quantumTokens;
    line.deficitTokens = Math.min(most, line.deficitTokens + rounds * quantumTokens);
  }

  #affordable(nowMs: number, passed: ReadonlySet<string>): Queued<T> | null {
    let best: Queued<T> | null = null;
    let bestAttained = 0;
    for (const line of this.#lines.values()) {
      if (passed.has(line.tenant)) continue;
      const head = line.head();
      if (line.deficitTokens < head.turn.costTokens) continue;
      const attained = this.#attained.of(line.tenant, nowMs);
      if (best === null || isBefore(head, attained, best, bestAttained)) {
        [best, bestAttained] = [head, attained];
      }
    }
    return best;
  }
}

function isBefore<T>(
  head: Queued<T>,
  attained: number,
  best: Queued<T>,
  bestAttained: number,
): boolean {
  if (head.turn.isLaterTurn !== best.turn.isLaterTurn) return head.turn.isLaterTurn;
  if (attained !== bestAttained) return attained < bestAttained;
  return head.arrival < best.arrival;
}
