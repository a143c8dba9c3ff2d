import type { Priority } from "../config/topology.ts";
import { invariant } from "../errors/invariant.ts";
import type { RejectedCandidate } from "../protocol/internal/turn-outcome.ts";
import type { Jurisdiction, ShardId } from "../residency/brands.ts";
import { rankByLoad } from "./rank-by-load.ts";
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

/** What a shard is wanted for. */
export interface ChooseShardInput {
  /** The shards of the cell; those that do not fit are rejected with a reason. */
  readonly candidates: readonly ShardView[];
  readonly jurisdiction: Jurisdiction;
  readonly model: string;
  /** Set when only this revision will do: an answer that was begun goes on with the same weights. */
  readonly revision?: string;
  /** Goes first while it is eligible and not full. */
  readonly homeShard: ShardId | null;
  /** Prompts with one key meet one warm cache. Empty: there is nothing to meet, so the least loaded shard is taken. */
  readonly affinityKey: string;
  /** Tried already; a handful at most. */
  readonly excluded: readonly ShardId[];
  readonly priority: Priority;
}

/** Numbers of the choice of a shard. */
export interface ChooseShardPolicy {
  /** Share of a shard's `concurrentRequestsMax` that a class may fill, 0..1. */
  readonly ceilings: Readonly<Record<Priority, number>>;
}

/** Every class may fill a shard: the queue in front is one line per model, and a lower ceiling would only idle slots. */
export const defaultChooseShardPolicy: ChooseShardPolicy = {
  ceilings: { critical: 1, interactive: 1, standard: 1, batch: 1 },
};

/** Why a shard was chosen: `spill` has a home that could not be taken. */
export type ShardReason = "home" | "rendezvous" | "spill" | "leastLoaded";

/** Why a shard was not. */
export type ShardRejection =
  | "jurisdiction"
  | "model"
  | "revision"
  | "excluded"
  | "draining"
  | "breaker"
  | "unhealthy"
  | "full";

/** A shard, or why there is none. `runnersUp` are the others that could have been taken, best first. */
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
      /** `allFull`: waiting helps. `unhealthy`: there are shards, none may be used now. `noShard`: none is left to try. */
      readonly reason: "noShard" | "allFull" | "unhealthy";
      readonly rejected: readonly RejectedCandidate[];
    };

function rejectionOf(
  view: ShardView,
  input: ChooseShardInput,
  policy: ChooseShardPolicy,
): ShardRejection | null {
  if (view.jurisdiction !== input.jurisdiction) return "jurisdiction";
  if (view.model !== input.model) return "model";
  if (input.revision !== undefined && view.revision !== input.revision) return "revision";
  if (input.excluded.includes(view.id)) return "excluded";
  if (view.isDraining) return "draining";
  if (!view.isAdmitting) return "breaker";
  // Written so that a weight that is no number is refused as well.
  if (!(view.weight > 0)) return "unhealthy";
  // At least one slot, or a class with a low ceiling could never use a small shard.
  const slots = Math.max(
    1,
    Math.floor(view.concurrentRequestsMax * policy.ceilings[input.priority]),
  );
  return view.inFlight >= slots ? "full" : null;
}

/** Rejections that time can end; the others say that the shard is no candidate for this prompt at all. */
const passing: ReadonlySet<string> = new Set<ShardRejection>(["draining", "breaker", "unhealthy"]);

function whyNone(rejected: readonly RejectedCandidate[]): "noShard" | "allFull" | "unhealthy" {
  if (rejected.some(({ reason }) => reason === "full")) return "allFull";
  return rejected.some(({ reason }) => passing.has(reason)) ? "unhealthy" : "noShard";
}

/**
 * Picks a shard of a cell. Filters; then the home while it is eligible and has room; else the first by weighted rendezvous on
 * the affinity key, so that prompts that share a prefix meet one warm cache and a full shard's overflow always goes to the same
 * next one; without a key the least loaded, ties drawn by `random`. The caller counts the shard in the same synchronous step.
 * A shard of another jurisdiction is never in the caller's list; if one is, it is rejected here as well.
 */
export function chooseShard(
  input: ChooseShardInput,
  random: () => number,
  policy: ChooseShardPolicy,
): ChooseShardResult {
  const rejected: RejectedCandidate[] = [];
  const eligible: ShardView[] = [];
  for (const view of input.candidates) {
    const reason = rejectionOf(view, input, policy);
    if (reason === null) eligible.push(view);
    else rejected.push({ id: view.id, reason });
  }
  const ranked = rank(input, eligible, random);
  const { homeShard } = input;
  const hasHome = homeShard !== null && ranked.includes(homeShard);
  const shard = hasHome ? homeShard : ranked[0];
  if (shard === undefined) return { kind: "none", reason: whyNone(rejected), rejected };
  invariant(
    eligible.some((view) => view.id === shard && view.jurisdiction === input.jurisdiction),
    "a chosen shard is one of the jurisdiction",
  );
  return {
    kind: "chosen",
    shard,
    reason: hasHome ? "home" : reasonWithoutHome(input),
    rejected,
    runnersUp: ranked.filter((id) => id !== shard),
  };
}

function rank(
  input: ChooseShardInput,
  eligible: readonly ShardView[],
  random: () => number,
): readonly ShardId[] {
  if (input.affinityKey === "") return rankByLoad(eligible, random);
  const targets = eligible.map(({ id, weight, concurrentRequestsMax }) => ({
    id,
    weight: weight * concurrentRequestsMax,
  }));
  return rankByRendezvous(input.affinityKey, targets);
}

function reasonWithoutHome({ homeShard, affinityKey }: ChooseShardInput): ShardReason {
  if (homeShard !== null) return "spill";
  return affinityKey === "" ? "leastLoaded" : "rendezvous";
}
