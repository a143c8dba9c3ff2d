import { priorities } from "../config/topology.ts";
import type { Priority } from "../config/topology.ts";
import type { ShedSubject } from "./shed-cohorts.ts";
import { TenantDemand } from "./tenant-demand.ts";
import { waterLevel } from "./water-level.ts";

/** Levels are made again at most this often, ms: demand is a mean of ten seconds. */
const renewMs = 100;

/** Share of a new measurement in what is held to be the capacity: work ends in bunches. */
const newestShare = 0.2;

/** The water level of the class in which the border of what is shed lies. */
interface Border {
  readonly ratio: number;
  readonly atMs: number;
  readonly priority: Priority | null;
  readonly level: number;
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

/**
 * Who is refused first when there is more work than can be done: the less important class; in a class what tenants ask for
 * beyond their max-min fair share of it; of such a tenant first turns before later ones, then by cohort. Whoever asks for no
 * more than the fair share of its class is never refused for somebody of the class who asks for more.
 */
export class FairShares {
  readonly #demand = new TenantDemand();
  #border: Border | null = null;
  #levels: Readonly<Record<Priority, number>> | null = null;
  #capacity = Number.POSITIVE_INFINITY;

  /** A turn came, whatever becomes of it. */
  arrived(subject: ShedSubject, workTokens: number, nowMs: number): void {
    this.#demand.arrived(subject, workTokens, nowMs);
  }

  /**
   * Whether an arrival is among the share `ratio` of the demanded work that is shed first. The cohort in which the border lies
   * is shed in part, by lot. Critical turns are never shed here.
   */
  isShed(subject: ShedSubject, ratio: number, nowMs: number, random: () => number): boolean {
    const { priority } = subject;
    if (!(ratio > 0) || priority === "critical") return false;
    const border = this.#borderAt(ratio, nowMs);
    if (border.priority === null) return false;
    const below = priorities.indexOf(priority) - priorities.indexOf(border.priority);
    if (below !== 0) return below > 0;
    const { rate, shareBefore, shareWith } = this.#demand.askOf(subject, nowMs);
    // The ratio swings about what is too much: nobody is shed of what is known to be done.
    const fair = this.#levels?.[priority] ?? 0;
    const level = fair === Number.POSITIVE_INFINITY ? border.level : Math.max(border.level, fair);
    if (rate <= level) return false;
    const shed = 1 - level / rate;
    if (shareBefore >= shed) return false;
    if (shareWith <= shed) return true;
    return random() * (shareWith - shareBefore) < shed - shareBefore;
  }

  /** Takes note of what the shards can do, tokens per second; Infinity where nothing is known. Call it several times a second. */
  noteCapacity(tokensPerSecond: number, nowMs: number): void {
    const isKnown = this.#capacity !== Number.POSITIVE_INFINITY;
    const isMean = isKnown && tokensPerSecond !== Number.POSITIVE_INFINITY;
    const change = isMean ? newestShare * (tokensPerSecond - this.#capacity) : 0;
    this.#capacity = isMean ? this.#capacity + change : tokensPerSecond;
    let left = this.#capacity;
    const levelOf = (priority: Priority): number => {
      const rates = this.#demand.ratesOf(priority, nowMs);
      const level = waterLevel(rates, left);
      left = Math.max(0, left - sum(rates));
      return level;
    };
    // In this order: a class has what those above it leave.
    const critical = levelOf("critical");
    const interactive = levelOf("interactive");
    const standard = levelOf("standard");
    this.#levels = { critical, interactive, standard, batch: levelOf("batch") };
  }

  /**
   * Whether the class asks for more than there is, and the tenant for no more than its fair share: others are to give way
   * before it. False where all fit: then nobody is in anybody's way.
   */
  isWithin(tenant: string, priority: Priority, nowMs: number): boolean {
    const level = this.#levels?.[priority] ?? Number.POSITIVE_INFINITY;
    if (level === Number.POSITIVE_INFINITY) return false;
    return this.#demand.rateOf(priority, tenant, nowMs) <= level;
  }

  #borderAt(ratio: number, nowMs: number): Border {
    const known = this.#border;
    if (known?.ratio === ratio && nowMs >= known.atMs && nowMs - known.atMs < renewMs) return known;
    const rates = priorities.map((priority) => this.#demand.ratesOf(priority, nowMs));
    let toShed = ratio * sum(rates.map(sum));
    let border: Border = { ratio, atMs: nowMs, priority: null, level: Number.POSITIVE_INFINITY };
    for (let at = priorities.length - 1; at > 0 && toShed > 0; at -= 1) {
      const ofClass = rates[at] ?? [];
      const total = sum(ofClass);
      const level = waterLevel(ofClass, total - toShed);
      border = { ratio, atMs: nowMs, priority: priorities[at] ?? null, level };
      toShed -= total;
    }
    this.#border = border;
    return border;
  }
}
