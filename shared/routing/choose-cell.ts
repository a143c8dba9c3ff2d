import type { CellDescription, ShardDescription } from "../config/topology.ts";
import { invariant } from "../errors/invariant.ts";
import { ageWeight } from "../health/hint.ts";
import type { AgePolicy, CellHint } from "../health/hint.ts";
import type { RejectedCandidate } from "../protocol/internal/turn-outcome.ts";
import type { CellId, Jurisdiction } from "../residency/brands.ts";
import { rankByChance, rankByRendezvous } from "./rendezvous.ts";

/** Numbers of the choice of a cell. */
export interface ChooseCellPolicy extends AgePolicy {
  /** A hint never lowers a cell's weight below this share of its capacity: "all dead" is no evidence (docs/architecture.md). */
  readonly weightFloor: number;
}

/** Starting values, to be tuned by simulation: hints are refreshed every 30 s at least, so 120 s are four lost ones. */
export const defaultChooseCellPolicy: ChooseCellPolicy = {
  weightFloor: 0.3,
  hintAgeMsMax: 120_000,
  clockSkewMsMax: 30_000,
};

/** What a cell is wanted for. */
export interface ChooseCellInput {
  /** The list made for the jurisdiction; a picker is never given another's. */
  readonly cells: readonly CellDescription[];
  /** The shards of those cells. */
  readonly shards: readonly ShardDescription[];
  readonly jurisdiction: Jurisdiction;
  readonly model: string;
  /** Goes first while the topology lets it serve the model: a hint never overrides a home. */
  readonly homeCell: CellId | null;
  /** Prompts with one key meet in one cell. Empty: there is nothing to meet, so the order is drawn by weight. */
  readonly affinityKey: string;
  readonly hints: ReadonlyMap<CellId, CellHint>;
  /** Tried already, or drained by the topology. */
  readonly excluded?: ReadonlySet<CellId>;
  /** Cells close enough to be preferred; those outside come after them. Without any of them there is no preference. */
  readonly near?: ReadonlySet<CellId>;
}

/** Why the first cell is first. */
export type CellReason = "home" | "rendezvous" | "chance";
/** Why a cell is not among the ranked. */
export type CellRejection = "jurisdiction" | "excluded" | "model";

/** All cells that may run the prompt, best first; or none: `noCell` has no shard of the model, `allExcluded` had some. */
export type ChooseCellResult =
  | {
      readonly kind: "ranked";
      readonly reason: CellReason;
      readonly cells: readonly CellId[];
      readonly rejected: readonly RejectedCandidate[];
    }
  | {
      readonly kind: "none";
      readonly reason: "noCell" | "allExcluded";
      readonly rejected: readonly RejectedCandidate[];
    };

interface Target {
  readonly id: CellId;
  readonly weight: number;
}

/**
 * Capacity for the model × health, never below the floor. A shard's own weight counts where the hint has it, so that another
 * model's dead shards do not count against this one; a cell of weight 0 wants nothing at all.
 */
function weigh(
  shards: readonly ShardDescription[],
  hint: CellHint | undefined,
  nowMs: number,
  policy: ChooseCellPolicy,
): number {
  const capacity = shards.reduce((sum, shard) => sum + shard.concurrentRequestsMax, 0);
  if (hint === undefined) return capacity;
  const published = new Map(hint.shards.map(({ id, weight }) => [id, weight]));
  const healthy = shards.reduce((sum, { id, concurrentRequestsMax }) => {
    const weight = hint.weight === 0 ? 0 : (published.get(id) ?? hint.weight);
    return sum + concurrentRequestsMax * weight;
  }, 0);
  const health = ageWeight({ weight: healthy / capacity, atMs: hint.atMs }, nowMs, policy);
  return capacity * Math.max(policy.weightFloor, health);
}

function rejectionOf(
  cell: CellDescription,
  shards: readonly ShardDescription[],
  input: ChooseCellInput,
): CellRejection | null {
  if (cell.jurisdiction !== input.jurisdiction) return "jurisdiction";
  if (shards.length === 0) return "model";
  return input.excluded?.has(cell.id) === true ? "excluded" : null;
}

/**
 * Ranks the cells that may run a prompt: its home first, then those near, then the others, within each by weighted rendezvous
 * on the affinity key. The weight is the capacity for the model × health, where old hints fade to no opinion. Hints change
 * the order, never the list, so that a frozen, empty or lying health KV cannot take a cell away. `random` is read only
 * without an affinity key. A cell of another jurisdiction is never in the caller's list; if one is, it is rejected here.
 */
export function chooseCells(
  input: ChooseCellInput,
  nowMs: number,
  random: () => number,
  policy: ChooseCellPolicy = defaultChooseCellPolicy,
): ChooseCellResult {
  const rejected: RejectedCandidate[] = [];
  const targets: Target[] = [];
  for (const cell of input.cells) {
    const shards = input.shards.filter(
      (shard) => shard.cell === cell.id && shard.model === input.model,
    );
    const reason = rejectionOf(cell, shards, input);
    if (reason !== null) rejected.push({ id: cell.id, reason });
    else
      targets.push({ id: cell.id, weight: weigh(shards, input.hints.get(cell.id), nowMs, policy) });
  }
  if (targets.length === 0) {
    const wasExcluded = rejected.some(({ reason }) => reason === "excluded");
    return { kind: "none", reason: wasExcluded ? "allExcluded" : "noCell", rejected };
  }
  const { affinityKey, homeCell, near } = input;
  const rank = (group: readonly Target[]): readonly CellId[] =>
    affinityKey === "" ? rankByChance(random, group) : rankByRendezvous(affinityKey, group);
  const isNear = ({ id }: Target): boolean => near?.has(id) === true;
  const ranked = [
    ...rank(targets.filter(isNear)),
    ...rank(targets.filter((target) => !isNear(target))),
  ];
  const hasHome = homeCell !== null && ranked.includes(homeCell);
  const cells = hasHome ? [homeCell, ...ranked.filter((cell) => cell !== homeCell)] : ranked;
  const own = new Set(
    input.cells
      .filter(({ jurisdiction }) => jurisdiction === input.jurisdiction)
      .map(({ id }) => id),
  );
  invariant(
    cells.every((cell) => own.has(cell)),
    "ranked cells are of the jurisdiction",
  );
  const reason = hasHome ? "home" : affinityKey === "" ? "chance" : "rendezvous";
  return { kind: "ranked", reason, cells, rejected };
}
