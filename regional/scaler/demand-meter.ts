import type { Priority } from "#shared/config/topology.ts";
import type { TurnOutcome } from "#shared/protocol/internal/turn-outcome.ts";
import type { TurnRequest } from "#shared/protocol/internal/turn-request.ts";
import { defaultSelectionPolicy } from "#shared/routing/selection-policy.ts";
import type { DemandReport } from "#shared/scaling/demand-report.ts";
import { turnWorkSeconds } from "#shared/scaling/turn-work.ts";
import type { ReplicaSpeed } from "#shared/scaling/turn-work.ts";
import type { Clock } from "../ports/clock.ts";

/** The parts of a request that its demand is counted by. */
type Offered = Pick<TurnRequest, "attempt" | "hop" | "resume" | "priority" | "engine">;

/** What a cell is offered, counted once: a turn at its first-choice cell, refused ones included, repeats not. */
export interface DemandMeter {
  /** A turn has come, before anything is decided about it. */
  arrived(request: Offered): void;
  firstToken(request: Offered, ttftMs: number): void;
  ended(request: Offered, outcome: Pick<TurnOutcome, "shard" | "usage">): void;
  /** Replica-seconds offered of a model since the start, by class, for the metrics. */
  offered(): readonly {
    readonly model: string;
    readonly priority: Priority;
    readonly seconds: number;
  }[];
  /** The last minute of each model. */
  reports(): readonly { readonly model: string; readonly report: DemandReport }[];
}

export interface DemandMeterOptions {
  readonly models: readonly string[];
  /** One replica of the model as it is known now; null: the cell has none. */
  readonly replicaOf: (model: string) => ReplicaSpeed | null;
  readonly waitingOf: (model: string) => ReadonlyMap<Priority, number>;
  /** Shards of the model that answer. */
  readonly readyOf: (model: string) => readonly string[];
  /** The last cold starts of the cell's shards of the model. */
  readonly startsOf: (model: string) => DemandReport["starts"];
  readonly clock: Clock;
}

const windowSeconds = 60;
/** Knative's panic window. */
const burstSeconds = 6;
/** Share of the newest turn in the mean work of its class; about the last fifty count (our choice). */
const meanAlpha = 0.02;
/** Answer tokens of a turn before any has ended (our choice; the first ones correct it). */
const completionTokensGuess = 200;

/** Sums of the last seconds. */
class Ring {
  readonly #values = new Float64Array(windowSeconds);
  #second = 0;

  add(value: number, nowMs: number): void {
    this.#roll(nowMs);
    this.#values[this.#second % windowSeconds] =
      (this.#values[this.#second % windowSeconds] ?? 0) + value;
  }

  sum(seconds: number, nowMs: number): number {
    this.#roll(nowMs);
    let sum = 0;
    for (let back = 0; back < seconds; back += 1) {
      sum += this.#values[(this.#second - back + windowSeconds) % windowSeconds] ?? 0;
    }
    return sum;
  }

  #roll(nowMs: number): void {
    const second = Math.floor(nowMs / 1_000);
    // A clock that was set back, or far on, empties the window.
    const isFar = second < this.#second || second - this.#second >= windowSeconds;
    if (isFar) this.#values.fill(0);
    else {
      for (let next = this.#second + 1; next <= second; next += 1)
        this.#values[next % windowSeconds] = 0;
    }
    this.#second = second;
  }
}

interface ModelMeter {
  readonly protected: Ring;
  readonly other: Ring;
  readonly first: Ring;
  readonly late: Ring;
  /** Mean replica-seconds of a turn, by class. */
  readonly meanSeconds: Map<Priority, number>;
  readonly offered: Map<Priority, number>;
}

function isProtected(priority: Priority): boolean {
  return priority === "critical" || priority === "interactive";
}

function isFirstChoice({ attempt, hop, resume }: Offered): boolean {
  return hop === 0 && attempt === 1 && resume === null;
}

/** The meter of one cell. Memory is bounded by its models. */
export function createDemandMeter(options: DemandMeterOptions): DemandMeter {
  const { clock, readyOf, replicaOf, startsOf, waitingOf } = options;
  const meters = new Map<string, ModelMeter>(
    options.models.map((model) => [
      model,
      {
        protected: new Ring(),
        other: new Ring(),
        first: new Ring(),
        late: new Ring(),
        meanSeconds: new Map(),
        offered: new Map(),
      },
    ]),
  );

  /** What a turn is taken to need: the mean of its class, before that a guess from its prompt. */
  function expectedSeconds({ engine, priority }: Offered, meter: ModelMeter): number {
    const mean = meter.meanSeconds.get(priority);
    if (mean !== undefined) return mean;
    const replica = replicaOf(engine.model);
    if (replica === null) return 0;
    const tokens = {
      uncachedTokens: engine.promptTokensEstimate,
      completionTokens: engine.completionTokensMax ?? completionTokensGuess,
    };
    return turnWorkSeconds(tokens, replica);
  }

  return {
    arrived(request) {
      const meter = meters.get(request.engine.model);
      if (meter === undefined || !isFirstChoice(request)) return;
      const { priority } = request;
      const seconds = expectedSeconds(request, meter);
      const ring = isProtected(priority) ? meter.protected : meter.other;
      ring.add(seconds, clock.nowMs());
      meter.offered.set(priority, (meter.offered.get(priority) ?? 0) + seconds);
    },
    firstToken({ engine, priority }, ttftMs) {
      const meter = meters.get(engine.model);
      if (meter === undefined || !isProtected(priority)) return;
      const nowMs = clock.nowMs();
      meter.first.add(1, nowMs);
      if (ttftMs > 1_000 * defaultSelectionPolicy.ttftSloSeconds[priority])
        meter.late.add(1, nowMs);
    },
    ended({ engine, priority }, { shard, usage }) {
      const meter = meters.get(engine.model);
      const replica = replicaOf(engine.model);
      // A turn that no shard worked on says nothing of the work of one.
      if (meter === undefined || replica === null || shard === null) return;
      const tokens = {
        uncachedTokens: usage.promptTokens - usage.cachedTokens,
        completionTokens: usage.completionTokens,
      };
      if (tokens.uncachedTokens + tokens.completionTokens <= 0) return;
      const seconds = turnWorkSeconds(tokens, replica);
      const mean = meter.meanSeconds.get(priority);
      meter.meanSeconds.set(
        priority,
        mean === undefined ? seconds : mean + meanAlpha * (seconds - mean),
      );
    },
    offered: () =>
      [...meters].flatMap(([model, meter]) =>
        [...meter.offered].map(([priority, seconds]) => ({ model, priority, seconds })),
      ),
    reports() {
      const nowMs = clock.nowMs();
      return [...meters].map(([model, meter]) => {
        const both = (seconds: number): number =>
          meter.protected.sum(seconds, nowMs) + meter.other.sum(seconds, nowMs);
        let backlogSeconds = 0;
        for (const [priority, waiting] of waitingOf(model)) {
          backlogSeconds += waiting * (meter.meanSeconds.get(priority) ?? 0);
        }
        return {
          model,
          report: {
            v: 1,
            protected: meter.protected.sum(windowSeconds, nowMs) / windowSeconds,
            other: meter.other.sum(windowSeconds, nowMs) / windowSeconds,
            burst: both(burstSeconds) / burstSeconds,
            backlogSeconds,
            firstTokens: meter.first.sum(windowSeconds, nowMs),
            lateTokens: meter.late.sum(windowSeconds, nowMs),
            readyShards: [...readyOf(model)],
            starts: startsOf(model),
          },
        };
      });
    },
  };
}
