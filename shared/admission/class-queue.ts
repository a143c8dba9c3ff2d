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

/** Whether a tenant was served no more than its fair share of the model, or more: then it stands behind all others. */
export type Standing = "within" | "over";

/** Standings of tenants in one class. */
export interface ClassStandings {
  /** Whether it was served more of the class, and of those above it, than its fair share. */
  isOver(tenant: string): boolean;
  /** Whether it asks for more of them. */
  asksTooMuch(tenant: string): boolean;
}

const allWithin: ClassStandings = { isOver: () => false, asksTooMuch: () => false };

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
  readonly #standings: ClassStandings;
  #order: LineOrder = "deadlineFirst";
  #workTokens = 0;

  constructor(
    attained: AttainedService,
    policy: FairSharePolicy,
    standings: ClassStandings = allWithin,
  ) {
    this.#attained = attained;
    this.#policy = policy;
    this.#standings = standings;
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

  /**
   * The turn to serve next of tenants of a standing, null when none waits; `passed` are tenants whose head cannot be served now.
   */
  next(nowMs: number, passed: ReadonlySet<string>, standing: Standing): Queued<T> | null {
    let best = this.#affordable(nowMs, passed, standing);
    if (best !== null) return best;
    // The rounds until somebody can afford its head are given in one step.
    const quantumTokens = this.#quantumTokens();
    let rounds = Number.POSITIVE_INFINITY;
    for (const line of this.#lines.values()) {
      if (passed.has(line.tenant) || this.#standingOf(line.head()) !== standing) continue;
      const missing = line.head().turn.costTokens - line.deficitTokens;
      rounds = Math.min(rounds, Math.ceil(missing / quantumTokens));
    }
    if (rounds === Number.POSITIVE_INFINITY) return null;
    this.#leftovers.clear();
    for (const line of this.#lines.values()) this.#give(line, rounds, quantumTokens);
    best = this.#affordable(nowMs, passed, standing);
    return best;
  }

  /** The one that has waited longest. */
  oldest(): Queued<T> | null {
    for (const queued of this.#arrivals) return queued;
    return null;
  }

  /** Of those within their shares the one that has waited longest. O(those that stand behind and came before it). */
  oldestWithin(): Queued<T> | null {
    for (const queued of this.#arrivals) if (this.#standingOf(queued) === "within") return queued;
    return null;
  }

  /** Whether a turn of a standing waits. */
  has(standing: Standing): boolean {
    for (const line of this.#lines.values()) {
      // A begun answer stands first, and never behind.
      const queued = standing === "within" ? line.head() : line.last();
      if (this.#standingOf(queued) === standing) return true;
    }
    return false;
  }

  /** Of the tenant of a standing with most work waiting, the turn that would be served last. */
  mostExpendable(standing: Standing): Queued<T> | null {
    return this.#heaviest(standing)?.last() ?? null;
  }

  /** Of the tenant with most work waiting, of those above their shares where any are, the turn that has waited longest. O(n). */
  oldestOfHeaviest(): Queued<T> | null {
    const tenant = (this.#heaviest("over") ?? this.#heaviest("within"))?.tenant;
    for (const queued of this.#arrivals) if (queued.turn.tenant === tenant) return queued;
    return null;
  }

  workOfTenant(tenant: string): number {
    return this.#lines.get(tenant)?.workTokens ?? 0;
  }

  /** Work of tenants within their shares, tokens; of those that ask for more only where they are counted. */
  workWithin(countsGreedy: boolean): number {
    let sum = 0;
    for (const line of this.#lines.values()) {
      if (this.#standingOf(line.last()) === "over") continue;
      if (countsGreedy || !this.#standings.asksTooMuch(line.tenant)) sum += line.workTokens;
    }
    return sum;
  }

  /**
   * Work that is served before a further turn of `tenant`, tokens: its own, and of every other tenant of its standing at most
   * as much again with the turn, because rounds give all the same; before one that stands behind all of those that do not. Of
   * others that ask for more than their shares nothing is, unless the tenant does: they will stand behind it. Of its own it is
   * served none before while the newest goes first.
   */
  workBefore(tenant: string, costTokens: number): number {
    const own = this.#order === "newestFirst" ? 0 : this.workOfTenant(tenant);
    const isOver = this.#standings.isOver(tenant);
    const isGreedy = isOver || this.#standings.asksTooMuch(tenant);
    let sum = own;
    for (const line of this.#lines.values()) {
      if (line.tenant === tenant) continue;
      const isOtherOver = this.#standingOf(line.last()) === "over";
      if (isOtherOver && !isOver) continue;
      if (!isGreedy && this.#standings.asksTooMuch(line.tenant)) continue;
      sum += isOver && !isOtherOver ? line.workTokens : Math.min(line.workTokens, own + costTokens);
    }
    return sum;
  }

  /** All of them, the longest waiting first. */
  all(): readonly Queued<T>[] {
    return [...this.#arrivals];
  }

  #standingOf({ turn }: Queued<T>): Standing {
    return turn.hasBegun !== true && this.#standings.isOver(turn.tenant) ? "over" : "within";
  }

  #heaviest(standing: Standing): TenantLine<T> | null {
    let heaviest: TenantLine<T> | null = null;
    for (const line of this.#lines.values()) {
      if (this.#standingOf(line.last()) !== standing) continue;
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

  #affordable(nowMs: number, passed: ReadonlySet<string>, standing: Standing): Queued<T> | null {
    let best: Queued<T> | null = null;
    let bestAttained = 0;
    for (const line of this.#lines.values()) {
      if (passed.has(line.tenant)) continue;
      const head = line.head();
      if (this.#standingOf(head) !== standing || line.deficitTokens < head.turn.costTokens)
        continue;
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
