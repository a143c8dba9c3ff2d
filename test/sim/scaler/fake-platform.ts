import type { Platform } from "#regional/ports/platform.ts";
import type { PoolDescription } from "#shared/config/scaling.ts";
import type { ActuationOutcome } from "#shared/scaling/actuation.ts";
import type { PoolObservation } from "#shared/scaling/pool-supply.ts";

interface Replica {
  readonly readyAtMs: number;
}

/** A call as the platform got it. */
export interface SeenOrder {
  readonly atMs: number;
  readonly pool: string;
  readonly replicas: number;
  readonly token: number;
  readonly outcome: ActuationOutcome;
}

/** A platform in virtual time. It does what it is told, until a test says otherwise. */
export class FakePlatform implements Platform {
  readonly orders: SeenOrder[] = [];
  /** What becomes of an order, in place of its being carried out. */
  answer: ((pool: string, replicas: number) => ActuationOutcome | "carryOut") | null = null;
  /** How many replicas of an order really come. */
  deliver: (pool: string, replicas: number) => number = (_, replicas) => replicas;
  /** What is reported of the pool, in place of the truth. */
  report: ((pool: string, truth: PoolObservation) => PoolObservation | null) | null = null;
  startMs = 120_000;
  /** Of pools that start in another time. */
  readonly startMsOf = new Map<string, number>();
  readonly #desired = new Map<string, number>();
  readonly #replicas = new Map<string, Replica[]>();
  readonly #nowMs: () => number;

  constructor(nowMs: () => number, initial: Readonly<Record<string, number>>) {
    this.#nowMs = nowMs;
    for (const [pool, count] of Object.entries(initial)) {
      this.#desired.set(pool, count);
      this.#replicas.set(
        pool,
        Array.from({ length: count }, () => ({ readyAtMs: 0 })),
      );
    }
  }

  truthOf(pool: string): PoolObservation {
    const replicas = this.#replicas.get(pool) ?? [];
    const ready = replicas.filter(({ readyAtMs }) => readyAtMs <= this.#nowMs()).length;
    return { desired: this.#desired.get(pool) ?? 0, ready };
  }

  /** Takes replicas away; the platform goes on wanting them. */
  reclaim(pool: string, left = 0): void {
    this.#replicas.set(pool, (this.#replicas.get(pool) ?? []).slice(0, left));
  }

  /** Gives what was wanted all along. */
  giveBack(pool: string): void {
    this.#size(pool, this.#desired.get(pool) ?? 0);
  }

  async observe(pool: PoolDescription): Promise<PoolObservation | null> {
    const truth = this.truthOf(pool.id);
    return this.report === null ? truth : this.report(pool.id, truth);
  }

  async apply(pool: PoolDescription, replicas: number, token: number): Promise<ActuationOutcome> {
    const said = this.answer?.(pool.id, replicas) ?? "carryOut";
    const outcome = said === "carryOut" ? "applied" : said;
    this.orders.push({ atMs: this.#nowMs(), pool: pool.id, replicas, token, outcome });
    if (said === "carryOut") {
      this.#desired.set(pool.id, replicas);
      this.#size(pool.id, this.deliver(pool.id, replicas));
    }
    return outcome;
  }

  close(): void {}

  #size(pool: string, count: number): void {
    const replicas = this.#replicas.get(pool) ?? [];
    const readyAtMs = this.#nowMs() + (this.startMsOf.get(pool) ?? this.startMs);
    while (replicas.length < count) replicas.push({ readyAtMs });
    this.#replicas.set(pool, replicas.slice(0, count));
  }
}
