import type { CellDescription, ShardDescription } from "../config/topology.ts";
import { invariant } from "../errors/invariant.ts";
import { ageWeight } from "../health/hint.ts";
import type { CellHint } from "../health/hint.ts";
import type { RejectedCandidate } from "../protocol/internal/turn-outcome.ts";
import type { CellId, Jurisdiction } from "../residency/brands.ts";
import { rankByRendezvous } from "./rendezvous.ts";

/** Weights of the choice of a cell. */
export interface ChooseCellPolicy {
  /** A hint never lowers a cell's weight below this share: "all dead" is no evidence (docs/architecture.md). */
  readonly weightFloor: number;
  /** Hints older than this are ignored, ms. */
  readonly hintAgeMsMax: number;
}

/** Floor 0.3 and age 120 s: starting values, to be tuned by simulation. */
export const defaultChooseCellPolicy: ChooseCellPolicy = {
  weightFloor: 0.3,
  hintAgeMsMax: 120_000,
};

export interface ChooseCellInput {
  /** The list made for the jurisdiction; a picker is never given another's. */
  readonly cells: readonly CellDescription[];
  readonly shards: readonly ShardDescription[];
  readonly jurisdiction: Jurisdiction;
  readonly model: string;
  /** Goes first while it serves the model: a hint alone never overrides a home. */
  readonly homeCell: CellId | null;
  readonly affinityKey: string;
  readonly hints: ReadonlyMap<CellId, CellHint>;
  readonly excluded?: ReadonlySet<CellId>;
}

export type ChooseCellResult =
  | {
      readonly kind: "ranked";
      readonly reason: "home" | "rendezvous";
      readonly cells: readonly CellId[];
      readonly rejected: readonly RejectedCandidate[];
    }
  | {
      readonly kind: "none";
      readonly reason: "noCell";
      readonly rejected: readonly RejectedCandidate[];
    };

/**
 * Ranks the cells that may run a prompt. Hints change weights, never eligibility, so that a frozen, empty or lying health
 * KV cannot take a cell away.
 */
export function chooseCells(
  input: ChooseCellInput,
  nowMs: number,
  policy: ChooseCellPolicy = defaultChooseCellPolicy,
): ChooseCellResult {
  const rejected: RejectedCandidate[] = [];
  const targets: { id: CellId; weight: number }[] = [];
  for (const cell of input.cells) {
    invariant(
      cell.jurisdiction === input.jurisdiction,
      "a picker sees cells of its jurisdiction only",
    );
    const capacity = input.shards
      .filter((shard) => shard.cell === cell.id && shard.model === input.model)
      .reduce((sum, shard) => sum + shard.concurrentRequestsMax, 0);
    if (input.excluded?.has(cell.id) === true) rejected.push({ id: cell.id, reason: "excluded" });
    else if (capacity === 0) rejected.push({ id: cell.id, reason: "model" });
    else {
      const hint = input.hints.get(cell.id);
      const health = hint === undefined ? 1 : ageWeight(hint, nowMs, policy.hintAgeMsMax);
      targets.push({ id: cell.id, weight: capacity * Math.max(policy.weightFloor, health) });
    }
  }
  if (targets.length === 0) return { kind: "none", reason: "noCell", rejected };
  const ranked = rankByRendezvous(input.affinityKey, targets);
  const { homeCell } = input;
  if (homeCell !== null && ranked.includes(homeCell)) {
    const cells = [homeCell, ...ranked.filter((cell) => cell !== homeCell)];
    return { kind: "ranked", reason: "home", cells, rejected };
  }
  return { kind: "ranked", reason: "rendezvous", cells: ranked, rejected };
}
