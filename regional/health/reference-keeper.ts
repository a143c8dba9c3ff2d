import type { ShardDescription } from "#shared/config/topology.ts";
import { agreementOf } from "#shared/health/canary.ts";
import type { CanaryAnswer } from "#shared/health/canary.ts";
import type { ShardHealth } from "#shared/health/shard-health.ts";
import type { ShardId } from "#shared/residency/brands.ts";
import type { CanaryReference, CanaryStore } from "../ports/canary-store.ts";
import type { Clock } from "../ports/clock.ts";
import { canaryPrompts } from "./canaries.ts";

/** Between two looks at what is to be read or kept, and longest call of the database, ms. */
const lookMs = 5_000;
const databaseMs = 2_000;

/** Carries the references of a cell's canaries over its restarts. */
export interface ReferenceKeeper {
  /** The reference of the shard's model for this prompt may have changed: it is kept soon. */
  noted(shard: ShardId, prompt: number): void;
  /** One look: reads what the last run kept, until that was answered once; then keeps what has changed. Never rejects. */
  look(): Promise<void>;
  /** Begins to look; returns the stop. */
  start(): () => void;
}

export interface ReferenceKeeperOptions {
  readonly store: CanaryStore;
  readonly shards: readonly Pick<ShardDescription, "id" | "model" | "revision">[];
  readonly health: Pick<ShardHealth, "referenceOf" | "remember">;
  readonly clock: Clock;
}

/** The keeper of one cell. What was not kept yet when the process dies is agreed on anew: nothing waits for it. */
export function createReferenceKeeper(options: ReferenceKeeperOptions): ReferenceKeeper {
  const { clock, health, shards, store } = options;
  const kept = new Map<string, CanaryAnswer>();
  /** By key; at most one for each prompt of each model and revision of the cell. */
  const changed = new Map<string, CanaryReference>();
  let hasRead = false;
  let looking: Promise<void> | null = null;

  function keyOf({ model, prompt, revision }: Omit<CanaryReference, "answer">): string {
    return JSON.stringify([model, revision, prompt]);
  }

  function take(reference: CanaryReference): void {
    const { answer, model, prompt, revision } = reference;
    kept.set(keyOf(reference), answer);
    const index = canaryPrompts.findIndex((text) => text === prompt);
    const shard = shards.find((one) => one.model === model && one.revision === revision);
    // A prompt that is no longer asked, a model or revision that is no longer here.
    if (index < 0 || shard === undefined) return;
    health.remember(shard.id, index, answer);
  }

  async function lookOnce(): Promise<void> {
    if (!hasRead) {
      const references = await store.read(clock.nowMs() + databaseMs);
      if (references === "unavailable") return;
      hasRead = true;
      for (const reference of references) take(reference);
    }
    for (const [key, reference] of changed) {
      const result = await store.keep(reference, clock.nowMs() + databaseMs);
      if (result === "unavailable") return;
      kept.set(key, reference.answer);
      if (changed.get(key) === reference) changed.delete(key);
    }
  }

  function look(): Promise<void> {
    looking ??= lookOnce().finally(() => {
      looking = null;
    });
    return looking;
  }

  return {
    noted(id, prompt) {
      const shard = shards.find((one) => one.id === id);
      const answer = health.referenceOf(id, prompt);
      const text = canaryPrompts[prompt];
      if (shard === undefined || answer === null || text === undefined) return;
      const reference = { model: shard.model, revision: shard.revision, prompt: text, answer };
      const key = keyOf(reference);
      const before = (changed.get(key) ?? { answer: kept.get(key) }).answer;
      if (before === undefined || agreementOf(before, answer) < 1) changed.set(key, reference);
    },
    look,
    start() {
      void look();
      return clock.every(lookMs, () => void look());
    },
  };
}
