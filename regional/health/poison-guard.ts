import { createHmac } from "node:crypto";
import { hasBrokenShard, isPoison, newPoisonTable, noteBroken } from "#shared/health/poison.ts";
import type { PoisonTable } from "#shared/health/poison.ts";
import type { TurnRequest } from "#shared/protocol/internal/turn-request.ts";
import type { ShardId } from "#shared/residency/brands.ts";
import type { Clock } from "../ports/clock.ts";
import type { Engine } from "../ports/engine.ts";

/** How long a shard that broke off may take to show that it lives, ms: within the time that a continuation may take. */
const aliveTimeoutMs = 250;

/** The prompt of a turn, as far as poison is concerned. */
export type Prompt = Pick<TurnRequest, "tenant" | "engine">;

/** Keeps prompts that break shards from breaking more of them. */
export interface PoisonGuard {
  isQuarantined(prompt: Prompt): boolean;
  /** Whether a prompt of the tenant broke a shard of late: its prompts are kept to the shards that are the tenant's. */
  hasBrokenShard(tenant: string): boolean;
  /** The shard broke off with this prompt: resolves when it is known whether it died of it. Never rejects. */
  suspect(prompt: Prompt, shard: ShardId): Promise<void>;
}

export interface PoisonGuardOptions {
  readonly engines: ReadonlyMap<ShardId, Pick<Engine, "probe">>;
  readonly clock: Clock;
  /** 64 hex digits: a fingerprint tells nothing of its prompt. */
  readonly keyHex: string;
  readonly onQuarantined: (shard: ShardId) => void;
}

/** The guard of one cell. A fingerprint is made only where one is needed: when shards have died, and of what broke off. */
export function createPoisonGuard(options: PoisonGuardOptions): PoisonGuard {
  const { clock, engines, onQuarantined } = options;
  const key = Buffer.from(options.keyHex, "hex");
  let table: PoisonTable = newPoisonTable;

  function fingerprintOf({ engine, tenant }: Prompt): string {
    const { body, model, path } = engine;
    return createHmac("sha256", key)
      .update(`poison;v1;${tenant};${path};${model};`)
      .update(JSON.stringify(body))
      .digest("base64");
  }

  return {
    isQuarantined(prompt) {
      if (table.size === 0) return false;
      return isPoison(table, fingerprintOf(prompt), clock.nowMs());
    },
    hasBrokenShard: (tenant) => hasBrokenShard(table, tenant, clock.nowMs()),
    async suspect(prompt, shard) {
      const alive = await engines.get(shard)?.probe(aliveTimeoutMs);
      if (alive === undefined || alive.ok) return;
      const fingerprint = fingerprintOf(prompt);
      const nowMs = clock.nowMs();
      const wasPoison = isPoison(table, fingerprint, nowMs);
      table = noteBroken(table, { fingerprint, tenant: prompt.tenant, shard }, nowMs);
      if (!wasPoison && isPoison(table, fingerprint, nowMs)) onQuarantined(shard);
    },
  };
}
