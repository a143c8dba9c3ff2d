import type { Priority } from "#shared/config/topology.ts";
import type { ShardId } from "#shared/residency/brands.ts";
import { chunkTokens } from "#shared/routing/chunk-keys.ts";
import { heldTokens, tokenRateAt } from "#shared/routing/held-tokens.ts";
import { createPrefixIndex } from "#shared/routing/prefix-index.ts";
import type { PrefixIndex } from "#shared/routing/prefix-index.ts";
import type { ShardState } from "#shared/routing/shard-state.ts";
import { shuffleSet } from "#shared/routing/shuffle-set.ts";
import type { HomeRecord } from "./home-memory.ts";
import { isInDoubt, stateOf } from "./shard-entry.ts";
import type { ShardEntry, ShardSurroundings } from "./shard-entry.ts";

/** Tenants whose sets are remembered; sets are made again when they are forgotten. */
const setsMax = 10_000;
/**
 * Share of its prompt that a home is believed to hold which this cell knows nothing of, because it has just started or the
 * conversation came from elsewhere (our choice): the object's word is good, the engine's memory uncertain.
 */
const unknownHomeShare = 0.5;
/** A home that holds less than this of the prompt is none: the conversation goes where it is best, at no cost. */
const idleHomeShare = 0.1;

/** Whose prompt, and where its conversation was. */
export interface CachedQuestion {
  readonly inputTokens: number;
  readonly promptKeys: readonly number[];
  readonly homeShard: ShardId | null;
  /** What the cell itself knows of the conversation's last turn. */
  readonly home: HomeRecord | null;
}

/** What the shards are thought to hold of a prompt, by position; and its home while that holds enough to be one. */
export interface CachedAnswer {
  readonly cachedTokens: readonly number[];
  readonly homeShard: ShardId | null;
}

/** The shards of one model in a cell. */
export interface ModelShards {
  readonly entries: readonly ShardEntry[];
  readonly surroundings: ShardSurroundings;
  states(nowMs: number): readonly ShardState[];
  /** Those that have not shown life since a prompt or a probe failed there. */
  inDoubt(nowMs: number): readonly ShardId[];
  /** The tenant's shuffle set and the conversation's home, wherever that is; null where it is every shard. */
  setOf(tenant: string, priority: Priority, homeShard: ShardId | null): ReadonlySet<ShardId> | null;
  cached(question: CachedQuestion, nowMs: number): CachedAnswer;
  /** The shard was sent a prompt with these chunks. */
  sent(entry: ShardEntry, promptKeys: readonly number[]): void;
  /** The shard is thought to have lost its memory. */
  forget(entry: ShardEntry): void;
}

/** Those that `entries` describe, in their order. */
export function createModelShards(
  entries: readonly ShardEntry[],
  surroundings: ShardSurroundings,
): ModelShards {
  const index: PrefixIndex = createPrefixIndex(
    entries.map(({ description }) => Math.floor(description.kvTokensMax / chunkTokens)),
  );
  const ids = entries.map(({ description }) => description.id);
  const sets = new Map<string, ReadonlySet<ShardId>>();

  function homeTokens(
    entry: ShardEntry,
    { home, inputTokens }: CachedQuestion,
    nowMs: number,
  ): number {
    if (home === null || home.shard !== entry.description.id) return inputTokens * unknownHomeShare;
    return heldTokens(
      home.tokens,
      (nowMs - home.atMs) / 1_000,
      tokenRateAt(entry.tokenRate, nowMs),
      entry.description.kvTokensMax,
    );
  }

  return {
    entries,
    surroundings,
    states: (nowMs) => entries.map((entry) => stateOf(entry, surroundings, nowMs)),
    inDoubt: (nowMs) =>
      entries
        .filter((entry) => isInDoubt(entry, nowMs, surroundings.policy))
        .map(({ description }) => description.id),
    setOf(tenant, priority, homeShard) {
      const key = `${priority === "critical" ? "critical" : "other"}|${tenant}`;
      let set = sets.get(key);
      if (set === undefined) {
        if (sets.size >= setsMax) sets.clear();
        set = shuffleSet(tenant, ids, priority);
        sets.set(key, set);
      }
      if (set.size === ids.length) return null;
      // A conversation that came by overflow, or before the set changed, keeps what is cached for it.
      return homeShard === null || set.has(homeShard) ? set : new Set([...set, homeShard]);
    },
    cached(question, nowMs) {
      const { inputTokens, promptKeys } = question;
      const chunks: number[] = [];
      index.match(promptKeys, chunks);
      const cachedTokens = chunks.map((count) => Math.min(inputTokens, count * chunkTokens));
      const home = entries.find(({ description }) => description.id === question.homeShard);
      if (home === undefined) return { cachedTokens, homeShard: question.homeShard };
      const held = Math.min(inputTokens, homeTokens(home, question, nowMs));
      const known = Math.max(cachedTokens[home.position] ?? 0, held);
      cachedTokens[home.position] = known;
      const isHome = known >= idleHomeShare * inputTokens;
      return { cachedTokens, homeShard: isHome ? question.homeShard : null };
    },
    sent: (entry, promptKeys) => index.insert(entry.position, promptKeys),
    forget: (entry) => index.clear(entry.position),
  };
}
