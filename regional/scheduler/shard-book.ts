import { breakerWeight, isAdmitting, stepBreaker, viewAt } from "#shared/breaker/breaker.ts";
import type { BreakerEvent } from "#shared/breaker/breaker.ts";
import type { BreakerPolicy } from "#shared/breaker/breaker-policy.ts";
import { newBreaker } from "#shared/breaker/breaker-state.ts";
import type { BreakerState } from "#shared/breaker/breaker-state.ts";
import type { ShardDescription } from "#shared/config/topology.ts";
import type { TryResult } from "#shared/conversation/turn-events.ts";
import { invariant } from "#shared/errors/invariant.ts";
import type { Jurisdiction, ShardId } from "#shared/residency/brands.ts";
import { chooseShard, defaultChooseShardPolicy } from "#shared/routing/choose-shard.ts";
import type { ChooseShardResult, ShardView } from "#shared/routing/choose-shard.ts";
import type { ProbeResult } from "../ports/engine.ts";
import type { SlotRequest } from "./scheduler.ts";

/** How long a shard that said 429 without a wait counts as full, and the longest wait that is believed, ms. */
const saturatedMsDefault = 500;
const saturatedMsMax = 5_000;

interface Shard {
  readonly description: ShardDescription;
  inFlight: number;
  promptTokens: number;
  breaker: BreakerState;
  saturatedUntilMs: number;
  isDraining: boolean;
  /** Whether its last sign was one of life. Until it gave one it is not counted on; it may still be tried. */
  isAlive: boolean;
}

/** A shard as metrics, readiness and health hints show it. */
export interface ShardStatus {
  readonly id: ShardId;
  readonly model: string;
  readonly breaker: BreakerState["kind"];
  /** 0..1. */
  readonly weight: number;
  readonly inFlight: number;
  readonly concurrentRequestsMax: number;
  /** Estimated prompt tokens of the turns in flight. */
  readonly promptTokens: number;
  readonly isDraining: boolean;
  readonly isUsable: boolean;
}

/** One dispatch as it was counted; `trips` is the breaker's fence for its end. */
export interface Dispatch {
  readonly shard: ShardId;
  readonly promptTokens: number;
  readonly trips: number;
}

/** The counters of a cell's shards: exact, because all dispatches go through here. Everything is synchronous. */
export interface ShardBook {
  choose(request: SlotRequest, nowMs: number): ChooseShardResult;
  /** Counts a dispatch; call in the same step as `choose`. */
  begin(shard: ShardId, promptTokens: number, nowMs: number): Dispatch;
  end(dispatch: Dispatch, result: TryResult, nowMs: number): void;
  probed(shard: ShardId, result: ProbeResult, nowMs: number): void;
  /** Takes the shard out of every choice, or puts it back; what runs on it goes on. */
  setDraining(shard: ShardId, isDraining: boolean): void;
  /** Turns in flight on all shards of a model. */
  runningOf(model: string): number;
  statuses(nowMs: number): readonly ShardStatus[];
}

export interface ShardBookOptions {
  readonly shards: readonly ShardDescription[];
  readonly jurisdiction: Jurisdiction;
  readonly random: () => number;
  readonly policy: BreakerPolicy;
}

/** What the end of a try says of the shard. The client's faults and a full shard are nobody's failure. */
function verdictOf(result: TryResult): "success" | "failure" | "release" {
  if (result.kind === "succeeded") return "success";
  if (result.kind === "aborted") return "release";
  const { reason } = result.failure;
  const isBlameless = reason === "clientFault" || reason === "saturated" || reason === "drained";
  return isBlameless ? "release" : "failure";
}

/** The book of one cell. */
export function createShardBook(options: ShardBookOptions): ShardBook {
  const { jurisdiction, policy, random } = options;
  const shards = new Map<ShardId, Shard>(
    options.shards.map((description) => [
      description.id,
      {
        description,
        inFlight: 0,
        promptTokens: 0,
        breaker: newBreaker(),
        saturatedUntilMs: 0,
        isDraining: false,
        isAlive: false,
      },
    ]),
  );

  function shardOf(id: ShardId): Shard {
    const shard = shards.get(id);
    invariant(shard !== undefined, "a shard of this cell");
    return shard;
  }

  function step(shard: Shard, event: BreakerEvent, nowMs: number): void {
    shard.breaker = stepBreaker(shard.breaker, event, nowMs, random, policy).state;
  }

  function view(shard: Shard, nowMs: number): ShardView {
    const { concurrentRequestsMax, id, model, revision } = shard.description;
    return {
      id,
      model,
      revision,
      jurisdiction,
      concurrentRequestsMax,
      // A shard that has just said that it is full is believed for a moment.
      inFlight: nowMs < shard.saturatedUntilMs ? concurrentRequestsMax : shard.inFlight,
      isDraining: shard.isDraining,
      // Half open, no prompt is risked on a shard that does not even answer a probe.
      isAdmitting:
        isAdmitting(shard.breaker, nowMs) &&
        (shard.isAlive || viewAt(shard.breaker, nowMs).kind === "closed"),
      weight: breakerWeight(shard.breaker, nowMs, policy),
    };
  }

  return {
    choose(request, nowMs) {
      const { affinityKey, excluded, homeShard, model, priority } = request;
      const candidates = [...shards.values()]
        .filter(({ description }) => description.model === model)
        .map((shard) => view(shard, nowMs));
      return chooseShard(
        { candidates, jurisdiction, model, homeShard, affinityKey, excluded, priority },
        random,
        defaultChooseShardPolicy,
      );
    },
    begin(id, promptTokens, nowMs) {
      const shard = shardOf(id);
      shard.inFlight += 1;
      shard.promptTokens += promptTokens;
      step(shard, { kind: "dispatch" }, nowMs);
      return { shard: id, promptTokens, trips: shard.breaker.trips };
    },
    end({ promptTokens, shard: id, trips }, result, nowMs) {
      const shard = shardOf(id);
      shard.inFlight -= 1;
      shard.promptTokens -= promptTokens;
      const kind = verdictOf(result);
      step(shard, { kind, trips }, nowMs);
      if (kind === "success") shard.isAlive = true;
      if (result.kind !== "failed" || result.failure.reason !== "saturated") return;
      const waitMs = Math.min(saturatedMsMax, result.failure.retryAfterMs ?? saturatedMsDefault);
      shard.saturatedUntilMs = nowMs + waitMs;
    },
    probed(id, result, nowMs) {
      const shard = shardOf(id);
      shard.isAlive = result.ok;
      const { kind, trips } = viewAt(shard.breaker, nowMs);
      if (!result.ok) {
        // Only a closed breaker is moved: a shard that is down for a minute must not be kept away for two more.
        if (kind === "closed") step(shard, { kind: "failure", trips }, nowMs);
        return;
      }
      // Live traffic outweighs what a shard says of itself: a probe helps to close a breaker, and hides no failure.
      if (kind === "halfOpen") {
        step(shard, { kind: "dispatch" }, nowMs);
        step(shard, { kind: "success", trips }, nowMs);
      }
    },
    setDraining(id, isDraining) {
      shardOf(id).isDraining = isDraining;
    },
    runningOf(model) {
      let sum = 0;
      for (const { description, inFlight } of shards.values()) {
        if (description.model === model) sum += inFlight;
      }
      return sum;
    },
    statuses: (nowMs) =>
      [...shards.values()].map((shard) => {
        const {
          id,
          model,
          concurrentRequestsMax,
          weight,
          isAdmitting: isOpen,
        } = view(shard, nowMs);
        return {
          id,
          model,
          breaker: viewAt(shard.breaker, nowMs).kind,
          weight,
          inFlight: shard.inFlight,
          concurrentRequestsMax,
          promptTokens: shard.promptTokens,
          isDraining: shard.isDraining,
          isUsable: isOpen && shard.isAlive && !shard.isDraining,
        };
      }),
  };
}
