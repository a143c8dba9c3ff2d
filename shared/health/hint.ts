import type { CellId } from "../residency/brands.ts";
import type { ShardLifecycle } from "../warming/shard-lifecycle.ts";

/** The states of a breaker that a cell publishes; "closed" means that traffic flows. */
export const breakerStates = ["closed", "open", "halfOpen"] as const;

/** What a cell publishes of one shard: an id, numbers and words of closed lists. */
export interface ShardHint {
  readonly id: string;
  /** Health weight, 0..1. */
  readonly weight: number;
  readonly state: ShardLifecycle;
  /** Of a cold or warming shard: expected time until it answers once it is asked, seconds; null of others. Version 1 has none. */
  readonly readyInSeconds?: number | null;
  readonly inFlight: number;
  readonly queued: number;
  readonly breaker: (typeof breakerStates)[number];
}

/** What a cell publishes of itself. Never content, tenants or URLs: every key of the KV is in every region of the world. */
export interface CellHint {
  /** 2 since shards tell when they are ready; what reads 2 still reads 1. */
  readonly v: 1 | 2;
  readonly cell: CellId;
  /** The start of the cell's process, ms since the epoch; with `counter` the version that orders its hints. */
  readonly boot: number;
  readonly counter: number;
  readonly atMs: number;
  /** Health weight, 0..1. */
  readonly weight: number;
  /** Used share of the usable capacity, 0 or more. */
  readonly saturation: number;
  /** Degradation level, 0..4. */
  readonly level: number;
  readonly models: readonly string[];
  readonly shards: readonly ShardHint[];
}

/** The KV's key of a cell's hint. */
export function hintKey(cell: CellId): string {
  return `meridian:health:v1:${cell}`;
}

/**
 * The hint to keep of two of one cell: the one of the higher (boot, counter), so that a lost write, a slow replica or a
 * resurrected key never turns time back. Wall time does not count: clocks go back.
 */
export function mergeHint(previous: CellHint | undefined, next: CellHint): CellHint {
  if (previous === undefined) return next;
  const isOlder =
    next.boot < previous.boot || (next.boot === previous.boot && next.counter < previous.counter);
  return isOlder ? previous : next;
}

/** How far a published weight is believed. */
export interface AgePolicy {
  /** From this age on a hint says nothing, ms. */
  readonly hintAgeMsMax: number;
  /** A hint that claims to be further ahead than this has a wrong clock: it would stay young for ever, so it says nothing, ms. */
  readonly clockSkewMsMax: number;
}

/**
 * A published weight as far as its age lets it be believed: in full when fresh, then in a straight line back to 1 (no
 * opinion) at `hintAgeMsMax`. `atMs` comes from the publisher's clock; a little ahead counts as now.
 */
export function ageWeight(
  published: { readonly weight: number; readonly atMs: number },
  nowMs: number,
  policy: AgePolicy,
): number {
  const ageMs = nowMs - published.atMs;
  if (ageMs < -policy.clockSkewMsMax) return 1;
  const ageShare = Math.min(1, Math.max(0, ageMs) / policy.hintAgeMsMax);
  return published.weight + (1 - published.weight) * ageShare;
}
