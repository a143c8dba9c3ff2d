import { priorities } from "../config/topology.ts";
import type { Priority } from "../config/topology.ts";
import { noLimit, rateOf, rateUpTo, shareIn, shareOut, tenantCap } from "./class-shares.ts";
import type { ClassRates, ClassShares } from "./class-shares.ts";
import { cohortRank } from "./shed-cohorts.ts";
import type { ShedSubject } from "./shed-cohorts.ts";
import { TenantWork } from "./tenant-work.ts";

/** Shares are made again at most this often, ms: work is a mean of ten seconds. */
const renewMs = 100;

/** Share of a new measurement in what is held to be the capacity: work ends in bunches. */
const newestShare = 0.2;

/** Who stands behind the others because it was served more than its share. */
export interface Standings {
  /** Whether anybody does. */
  hasOver(): boolean;
  isOver(tenant: string, priority: Priority): boolean;
  /** Whether it asks for more than its share, of the class and those above it: it will stand behind when it was served that. */
  asksTooMuch(tenant: string, priority: Priority): boolean;
}

/** The most important class of each tenant in which it has too much; it has in those below as well. */
type Excess = ReadonlyMap<string, Priority>;

const nobody: Excess = new Map();

function excessOf(rates: readonly (readonly [string, ClassRates])[], cap: number): Excess {
  const excess = new Map<string, Priority>();
  if (cap === Number.POSITIVE_INFINITY) return excess;
  for (const [tenant, own] of rates) {
    const first = priorities.find((priority) => rateUpTo(own, priority) > cap);
    if (first !== undefined) excess.set(tenant, first);
  }
  return excess;
}

function hasExcess(excess: Excess, tenant: string, priority: Priority): boolean {
  const first = excess.get(tenant);
  return first !== undefined && priorities.indexOf(priority) >= priorities.indexOf(first);
}

/**
 * Who gives way when there is more work than can be done. First what a tenant asks for beyond its fair share of the model over
 * all classes (class-shares.ts), a share being filled with the most important work; then the less important class; in a class what
 * tenants ask for beyond their max-min fair share of it; of such a tenant first turns before later ones, then by cohort.
 */
export class FairShares implements Standings {
  readonly #demand = new TenantWork();
  readonly #service = new TenantWork();
  #border: { readonly ratio: number; readonly atMs: number; readonly shares: ClassShares } | null =
    null;
  #known: ClassShares = noLimit;
  #capacity = Number.POSITIVE_INFINITY;
  #over = nobody;
  #greedy = nobody;
  #renewedAtMs = Number.NEGATIVE_INFINITY;

  /** A turn came, whatever becomes of it. */
  arrived(subject: ShedSubject, workTokens: number, nowMs: number): void {
    const { priority, tenant } = subject;
    this.#demand.add(tenant, priority, workTokens, cohortRank(subject, nowMs), nowMs);
  }

  /** A turn was given to a shard. */
  served(tenant: string, priority: Priority, workTokens: number, nowMs: number): void {
    this.#service.add(tenant, priority, workTokens, null, nowMs);
  }

  /**
   * Whether an arrival is among the share `ratio` of the demanded work that is shed first. The cohort in which the border lies
   * is shed in part, by lot. Of critical turns only those are ever shed that are above their tenant's share of what is known to
   * be done.
   */
  isShed(subject: ShedSubject, ratio: number, nowMs: number, random: () => number): boolean {
    if (!(ratio > 0)) return false;
    const { priority, tenant } = subject;
    const rates = this.#demand.of(tenant, nowMs);
    const share = this.#shareAt(rates, priority, ratio, nowMs);
    if (rates[priority] <= share) return false;
    const rank = cohortRank(subject, nowMs);
    const range = this.#demand.rangeOf(tenant, priority, rank, nowMs);
    if (range.with <= share) return false;
    if (range.before >= share) return true;
    return random() * (range.with - range.before) < range.with - share;
  }

  /** Takes note of what the shards can do, tokens per second; Infinity where nothing is known. Call it several times a second. */
  noteCapacity(tokensPerSecond: number, nowMs: number): void {
    const isKnown = this.#capacity !== Number.POSITIVE_INFINITY;
    const isMean = isKnown && tokensPerSecond !== Number.POSITIVE_INFINITY;
    const change = isMean ? newestShare * (tokensPerSecond - this.#capacity) : 0;
    this.#capacity = isMean ? this.#capacity + change : tokensPerSecond;
    this.#known = shareOut(this.#asked(nowMs), this.#capacity);
  }

  /**
   * Whether others ask for more than their fair share, of all classes or of this one, and all that the tenant asks for of the
   * class is in its own: others are to give way before it. False where all fit: then nobody is in anybody's way.
   */
  isWithin(tenant: string, priority: Priority, nowMs: number): boolean {
    const { hasExcess, levels } = this.#known;
    if (!hasExcess && levels[priority] === Number.POSITIVE_INFINITY) return false;
    const rates = this.#demand.of(tenant, nowMs);
    return rates[priority] <= shareIn(rates, priority, this.#known);
  }

  /**
   * Sees who was served, and who asks for, more than its share of all that was served of late, at most ten times a second. What a tenant does not
   * ask for is the others'.
   */
  renew(nowMs: number): void {
    if (nowMs >= this.#renewedAtMs && nowMs - this.#renewedAtMs < renewMs) return;
    this.#renewedAtMs = nowMs;
    const asked = this.#demand.all(nowMs);
    const served = this.#service.all(nowMs);
    const sum = served.reduce((total, [, rates]) => total + rateOf(rates), 0);
    const cap = tenantCap(
      asked.map(([, rates]) => rateOf(rates)),
      sum,
    );
    this.#over = excessOf(served, cap);
    this.#greedy = excessOf(asked, cap);
  }

  hasOver(): boolean {
    return this.#over.size > 0;
  }

  isOver(tenant: string, priority: Priority): boolean {
    return hasExcess(this.#over, tenant, priority);
  }

  asksTooMuch(tenant: string, priority: Priority): boolean {
    return hasExcess(this.#greedy, tenant, priority);
  }

  #shareAt(rates: ClassRates, priority: Priority, ratio: number, nowMs: number): number {
    const isKnown = this.#capacity !== Number.POSITIVE_INFINITY;
    const known = isKnown ? shareIn(rates, priority, this.#known) : 0;
    if (priority === "critical") {
      // Alone in the cell it is in nobody's way, and waits.
      return isKnown && this.#known.cap < this.#capacity ? known : Number.POSITIVE_INFINITY;
    }
    // The ratio swings about what is too much: nobody is shed of what is known to be done.
    return Math.max(known, shareIn(rates, priority, this.#borderAt(ratio, nowMs)));
  }

  #asked(nowMs: number): readonly ClassRates[] {
    return this.#demand.all(nowMs).map(([, rates]) => rates);
  }

  #borderAt(ratio: number, nowMs: number): ClassShares {
    const known = this.#border;
    if (known?.ratio === ratio && nowMs >= known.atMs && nowMs - known.atMs < renewMs) {
      return known.shares;
    }
    const asked = this.#asked(nowMs);
    const sum = asked.reduce((total, rates) => total + rateOf(rates), 0);
    const shares = shareOut(asked, (1 - ratio) * sum);
    this.#border = { ratio, atMs: nowMs, shares };
    return shares;
  }
}
