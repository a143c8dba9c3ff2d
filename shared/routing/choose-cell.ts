import type { CellDescription, Priority, ShardDescription } from "../config/topology.ts";
import { invariant } from "../errors/invariant.ts";
import { ageWeight } from "../health/hint.ts";
import type { AgePolicy, CellHint } from "../health/hint.ts";
import type { RejectedCandidate } from "../protocol/internal/turn-outcome.ts";
import type { CellId, Jurisdiction } from "../residency/brands.ts";
import { cellLoad } from "./cell-load.ts";
import type { CellLoad, CellLoadPolicy } from "./cell-load.ts";
import { defaultSelectionPolicy } from "./selection-policy.ts";
import { fillShares } from "./water-fill.ts";
import { rankByChance, rankByRendezvous } from "./rendezvous.ts";

/** Numbers of the choice of a cell. */
export interface ChooseCellPolicy extends AgePolicy, CellLoadPolicy {
  /** A hint never lowers a cell's weight below this share of its capacity: "all dead" is no evidence (docs/architecture.md). */
  readonly weightFloor: number;
}

/** Starting values, to be tuned by simulation: hints are refreshed every 30 s at least, so 120 s are four lost ones. */
export const defaultChooseCellPolicy: ChooseCellPolicy = {
  weightFloor: 0.3,
  hintAgeMsMax: 120_000,
  clockSkewMsMax: 30_000,
  wanderPerRootSecond: 0.05,
  turnoverPerSecond: 0.05,
  ceilings: defaultSelectionPolicy.ceilings,
  refusedFromLevel: { critical: 5, interactive: 4, standard: 4, batch: 3 },
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
  readonly priority: Priority;
  readonly hints: ReadonlyMap<CellId, CellHint>;
  /** Prompts that this isolate sent to a cell since its hint was made; without them the hints alone count. */
  readonly sentSince?: ReadonlyMap<CellId, number>;
  /** Tried already, or drained by the topology. */
  readonly excluded?: ReadonlySet<CellId>;
  /** Cells close enough to be preferred; those outside come after them. Without any of them there is no preference. */
  readonly near?: ReadonlySet<CellId>;
}

/** Why the first cell is first. `waterFill`: the one that would have been first is full by its hint. */
export type CellReason = "home" | "rendezvous" | "chance" | "waterFill";
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
  readonly load: CellLoad;
  /** Whether none of its shards of the model runs, by a hint that is young enough. */
  readonly isCold: boolean;
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

/** What is old, or says nothing of these shards, is no word of cold ones. */
function isCold(
  shards: readonly ShardDescription[],
  hint: CellHint | undefined,
  nowMs: number,
  policy: ChooseCellPolicy,
): boolean {
  if (hint === undefined) return false;
  const ageMs = nowMs - hint.atMs;
  if (ageMs >= policy.hintAgeMsMax || ageMs < -policy.clockSkewMsMax) return false;
  const own = new Set<string>(shards.map(({ id }) => id));
  const told = hint.shards.filter(({ id }) => own.has(id));
  const isSome = told.some(({ state }) => state === "cold" || state === "warming");
  return isSome && !told.some(({ state }) => state === "ready");
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
 * on the affinity key; where the first is full by its hint, by the room that is left ({@link fill}). Those where nothing of the
 * model runs come last: a start takes longer than any way. The weight is the capacity for the model × health, where old hints fade to no opinion. Hints change
 * the order, never the list, so that a frozen, empty or lying health KV cannot take a cell away. `random` is read only
 * without an affinity key, or when the first is full. A cell of another jurisdiction is never in the caller's list; if one is, it is rejected here.
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
    else {
      const hint = input.hints.get(cell.id);
      const sent = input.sentSince?.get(cell.id) ?? 0;
      targets.push({
        id: cell.id,
        weight: weigh(shards, hint, nowMs, policy),
        load: cellLoad(shards, hint, sent, input.priority, nowMs, policy),
        isCold: isCold(shards, hint, nowMs, policy),
      });
    }
  }
  if (targets.length === 0) {
    const wasExcluded = rejected.some(({ reason }) => reason === "excluded");
    return { kind: "none", reason: wasExcluded ? "allExcluded" : "noCell", rejected };
  }
  const { affinityKey, homeCell, near } = input;
  const rank = (group: readonly Target[]): readonly CellId[] =>
    affinityKey === "" ? rankByChance(random, group) : rankByRendezvous(affinityKey, group);
  const isNear = ({ id }: Target): boolean => near?.has(id) === true;
  const byKey = [
    ...rank(targets.filter(isNear)),
    ...rank(targets.filter((target) => !isNear(target))),
  ];
  const isFirstFull = targets.some(({ id, load }) => id === byKey[0] && load.isFull);
  const cold = new Set(targets.filter((target) => target.isCold).map(({ id }) => id));
  const ordered = isFirstFull ? fill(targets, isNear, random, policy) : byKey;
  const ranked = [
    ...ordered.filter((id) => !cold.has(id)),
    ...ordered.filter((id) => cold.has(id)),
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
  return { kind: "ranked", reason: reasonOf(hasHome, isFirstFull, affinityKey), cells, rejected };
}

function reasonOf(hasHome: boolean, isFirstFull: boolean, affinityKey: string): CellReason {
  if (hasHome) return "home";
  if (isFirstFull) return "waterFill";
  return affinityKey === "" ? "chance" : "rendezvous";
}

/**
 * The order when the first choice is full: those that are not, the near ones before the others, then the full. Within each a
 * draw by the room that is left, weighed by what may have come since the hints were made: never the least loaded of a stale
 * list, which every isolate would pick at once, and never nobody when all are full.
 */
function fill(
  targets: readonly Target[],
  isNear: (target: Target) => boolean,
  random: () => number,
  policy: ChooseCellPolicy,
): readonly CellId[] {
  const draw = (group: readonly Target[]): readonly CellId[] => {
    const ageMs = Math.max(0, ...group.map(({ load }) => load.ageMs));
    const capacity = group.reduce((sum, { load }) => sum + load.capacity, 0);
    const arrived = (capacity * policy.turnoverPerSecond * ageMs) / 1_000;
    const shares = fillShares(
      group.map(({ load }) => load),
      arrived,
    );
    return rankByChance(
      random,
      group.map(({ id, weight, load }, at) => ({
        id,
        // Health counts as well: a sick cell's room is not worth as much.
        weight: ((shares[at] ?? 0) * weight) / load.capacity,
      })),
    );
  };
  const open = targets.filter(({ load }) => !load.isFull);
  return [
    ...draw(open.filter(isNear)),
    ...draw(open.filter((target) => !isNear(target))),
    ...draw(targets.filter(({ load }) => load.isFull)),
  ];
}
