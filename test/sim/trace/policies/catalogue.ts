import { selectShard } from "#shared/routing/score-shard.ts";
import type { SelectionPolicy } from "#shared/routing/selection-policy.ts";
import {
  boundedLoad,
  cacheAware,
  consistentHash,
  leastRequests,
  lmetric,
  lmetricBySpeed,
  powerOfTwo,
  randomChoice,
  roundRobin,
} from "./baselines.ts";
import type { RoutingPolicy } from "./policy.ts";

/** A policy with what is switched off around it. */
export interface PolicyEntry {
  make(numbers: SelectionPolicy): RoutingPolicy;
  /** The cell's view of its shards is this old, seconds; 0: fresh. */
  readonly staleSeconds: number;
  /** Whether observed / predicted corrects predictions. */
  readonly hasErrorRatio: boolean;
  /** What a whole cell does beside choosing; without classes (`--mix`) it does none of it. */
  readonly parts: CellParts;
}

/** Parts of a cell that can be switched off. */
export interface CellParts {
  /** Late tries are given up. */
  readonly hasTimeouts: boolean;
  /** A second shard is asked when the first one is late. */
  readonly hasHedges: boolean;
  /** Degradation levels. */
  readonly hasLevels: boolean;
  /** Weights from answers, health checks and synthetic prompts. */
  readonly hasHealth: boolean;
}

/** A whole cell, as production is. */
export const allParts: CellParts = {
  hasTimeouts: true,
  hasHedges: true,
  hasLevels: true,
  hasHealth: true,
};

/** A cell that only chooses, counts and queues. */
export const noParts: CellParts = {
  hasTimeouts: false,
  hasHedges: false,
  hasLevels: false,
  hasHealth: false,
};

function meridian(change: Partial<SelectionPolicy>, isCacheBlind = false): PolicyEntry["make"] {
  return (numbers) => {
    const calm = { ...numbers, ...change };
    const { loadBoundCrowded } = numbers;
    const crowded = { ...numbers, loadBound: loadBoundCrowded, ...change };
    return {
      choose({ shards, cachedTokens, prompt, eligible, level }, random) {
        const policy = level >= 2 ? crowded : calm;
        const known = isCacheBlind ? [] : cachedTokens;
        const asked = isCacheBlind ? { ...prompt, homeShard: null, affinityKey: "" } : prompt;
        const input = { candidates: shards, cachedTokens: known, prompt: asked };
        const selection = selectShard(input, random, policy);
        // The caller's filter is the selection's own, so that there is one whenever anything is eligible.
        if (selection.kind === "none") return { index: eligible[0] ?? 0, reason: "best" };
        return { index: selection.chosen.index, reason: selection.reason };
      },
    };
  };
}

function entry(make: PolicyEntry["make"], change: Partial<PolicyEntry> = {}): PolicyEntry {
  return { make, staleSeconds: 0, hasErrorRatio: true, parts: allParts, ...change };
}

/** What `--policy all` compares. */
export const policies: Readonly<Record<string, PolicyEntry>> = {
  "round-robin": entry(roundRobin),
  random: entry(randomChoice),
  "least-requests": entry(leastRequests),
  "power-of-two": entry(powerOfTwo),
  "consistent-hash": entry(consistentHash),
  "bounded-load": entry(boundedLoad),
  "cache-aware": entry(cacheAware),
  lmetric: entry(lmetric),
  "lmetric-speed": entry(lmetricBySpeed),
  meridian: entry(meridian({})),
};

/** Ours with one part switched off each; `--policy ablations` runs them beside the whole. */
export const ablations: Readonly<Record<string, PolicyEntry>> = {
  "meridian-no-bound": entry(meridian({ loadBound: 1e12 })),
  "meridian-no-cache": entry(meridian({}, true)),
  "meridian-no-displacement": entry(meridian({ displacementWeight: 0 })),
  "meridian-no-error-ratio": entry(meridian({}), { hasErrorRatio: false }),
  "meridian-stale-1": entry(meridian({}), { staleSeconds: 1 }),
  "meridian-stale-5": entry(meridian({}), { staleSeconds: 5 }),
  "meridian-stale-30": entry(meridian({}), { staleSeconds: 30 }),
};

/** Ours with one part of the cell switched off each; they differ only where a cell is whole, with `--mix`. */
export const cellAblations: Readonly<Record<string, PolicyEntry>> = {
  "meridian-no-timeouts": entry(meridian({}), { parts: { ...allParts, hasTimeouts: false } }),
  "meridian-no-hedge": entry(meridian({}), { parts: { ...allParts, hasHedges: false } }),
  "meridian-no-levels": entry(meridian({}), { parts: { ...allParts, hasLevels: false } }),
  "meridian-no-health": entry(meridian({}), { parts: { ...allParts, hasHealth: false } }),
};
