import type { Priority } from "../config/topology.ts";
import { invariant } from "../errors/invariant.ts";
import type { RejectedCandidate } from "../protocol/internal/turn-outcome.ts";
import type { Jurisdiction, ShardId } from "../residency/brands.ts";
import { rankByRendezvous } from "./rendezvous.ts";

/** A shard as its cell sees it at the moment of choosing. */
export interface ShardView {
  readonly id: ShardId;
  readonly model: string;
  readonly revision: string;
  readonly jurisdiction: Jurisdiction;
  readonly concurrentRequestsMax: number;
  readonly inFlight: number;
  readonly isDraining: boolean;
  /** Whether its breaker lets one more request through now. */
  readonly isAdmitting: boolean;
  /** Health weight, 0..1: slow start and probes lower it; a shard of weight 0 is not chosen. */
  readonly weight: number;
}

export interface ChooseShardInput {
  readonly candidates: readonly ShardView[];
  readonly jurisdiction: Jurisdiction;
  readonly model: string;
  readonly homeShard: ShardId | null;
  readonly affinityKey: string;
  readonly excluded: readonly ShardId[];
  readonly priority: Priority;
}

/** Why a shard was chosen. */
export type ShardReason = "home" | "rendezvous" | "spill";
/** Why a shard was not. `full` ones may be waited for. */
export type ShardRejection = "model" | "excluded" | "draining" | "breaker" | "unhealthy" | "full";

export type ChooseShardResult =
  | {
      readonly kind: "chosen";
      readonly shard: ShardId;
      readonly reason: ShardReason;
      readonly rejected: readonly RejectedCandidate[];
      readonly runnersUp: readonly ShardId[];
    }
  | {
      readonly kind: "none";
      readonly reason: "noShard" | "allFull" | "unhealthy";
      readonly rejected: readonly RejectedCandidate[];
    };

function rejectionOf(view: ShardView, input: ChooseShardInput): ShardRejection | null {
  if (view.model !== input.model) return "model";
  if (input.excluded.includes(view.id)) return "excluded";
  if (view.isDraining) return "draining";
  if (!view.isAdmitting) return "breaker";
  if (view.weight <= 0) return "unhealthy";
  if (view.inFlight >= view.concurrentRequestsMax) return "full";
  return null;
}

/**
 * Picks a shard: filters, then the home while it is eligible, else weighted rendezvous on the affinity key, so that prompts
 * that share a prefix meet one warm cache. The caller counts the shard in the same synchronous step.
 */
export function chooseShard(input: ChooseShardInput): ChooseShardResult {
  const rejected: RejectedCandidate[] = [];
  const eligible: ShardView[] = [];
  for (const view of input.candidates) {
    invariant(
      view.jurisdiction === input.jurisdiction,
      "a picker sees shards of its jurisdiction only",
    );
    const rejection = rejectionOf(view, input);
    if (rejection === null) eligible.push(view);
    else rejected.push({ id: view.id, reason: rejection });
  }
  const ranked = rankByRendezvous(
    input.affinityKey,
    eligible.map((view) => ({ id: view.id, weight: view.weight * view.concurrentRequestsMax })),
  );
  const first = ranked[0];
  if (first === undefined) {
    const serving = rejected.filter(({ reason }) => reason !== "model");
    const reason = serving.some(({ reason: why }) => why === "full")
      ? "allFull"
      : serving.length === 0
        ? "noShard"
        : "unhealthy";
    return { kind: "none", reason, rejected };
  }
  const { homeShard } = input;
  if (homeShard !== null && ranked.includes(homeShard)) {
    const runnersUp = ranked.filter((shard) => shard !== homeShard);
    return { kind: "chosen", shard: homeShard, reason: "home", rejected, runnersUp };
  }
  const reason = homeShard === null ? "rendezvous" : "spill";
  return { kind: "chosen", shard: first, reason, rejected, runnersUp: ranked.slice(1) };
}
