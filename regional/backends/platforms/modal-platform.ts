import type { PoolDescription } from "#shared/config/scaling.ts";
import type { ActuationOutcome } from "#shared/scaling/actuation.ts";
import { unknownDesired } from "#shared/scaling/pool-supply.ts";
import type { Platform } from "../../ports/platform.ts";
import { createModalControl } from "./modal-control.ts";
import type { ControlAnswer, ModalServer } from "./modal-control.ts";

export interface ModalPlatformOptions {
  /** Null for a pool that is none of Modal's, or whose autoscaler nobody may set. */
  readonly serverOf: (pool: PoolDescription) => ModalServer | null;
  readonly monotonicMs: () => number;
  /** Of the control plane; Modal's when it is left out. */
  readonly origin?: string;
}

/** Counts are asked this often, as of SageMaker. */
const countMs = 15_000;
/**
 * What was told counts as told for this long, and is told again then: a deploy of the app sets its autoscaler back (Modal's
 * reference, `update_autoscaler`), and nothing tells of it.
 */
const toldMs = 300_000;

interface Known {
  readonly id: string;
  readonly idAtMs: number;
  readonly containers: { readonly count: number; readonly atMs: number } | null;
  readonly told: { readonly replicas: number; readonly atMs: number } | null;
}

/**
 * Containers of Modal servers. An order is one call: the plan is the floor of Modal's autoscaler and `replicasMax` its ceiling, so
 * that nothing is ever half set. Modal keeps no token of ours: that two leaders do not call at once is the lease's promise alone.
 */
export function createModalPlatform(options: ModalPlatformOptions): Platform {
  const { monotonicMs, serverOf } = options;
  const control = createModalControl({ monotonicMs, origin: options.origin });
  const known = new Map<string, Known>();

  /** The pool's server by its id; a name that was asked for lately is not asked for again. */
  async function identify(
    pool: PoolDescription,
    server: ModalServer,
    signal: AbortSignal,
  ): Promise<Known | Exclude<ControlAnswer<never>, { kind: "ok" }>> {
    const before = known.get(pool.id);
    if (before !== undefined && monotonicMs() - before.idAtMs < toldMs) return before;
    const found = await control.find(server, signal);
    if (found.kind !== "ok") return found;
    const isSame = before?.id === found.value;
    const now: Known = {
      id: found.value,
      idAtMs: monotonicMs(),
      containers: isSame ? before.containers : null,
      told: isSame ? before.told : null,
    };
    known.set(pool.id, now);
    return now;
  }

  /** A name that is gone, or has another id since a deploy, is asked for again by the next call. */
  function outcomeOf(pool: PoolDescription, kind: string): ActuationOutcome {
    if (kind === "notFound") known.delete(pool.id);
    return kind === "throttled" || kind === "quotaRefused" ? kind : "failed";
  }

  return {
    async observe(pool, readyShards, signal) {
      const server = serverOf(pool);
      if (server === null) return null;
      let now = await identify(pool, server, signal);
      if ("kind" in now) return null;
      let { containers } = now;
      if (containers === null || monotonicMs() - containers.atMs >= countMs) {
        const counted = await control.count(server, now.id, signal);
        if (counted.kind !== "ok") {
          outcomeOf(pool, counted.kind);
          return null;
        }
        containers = { count: counted.value, atMs: monotonicMs() };
        now = { ...(known.get(pool.id) ?? now), containers };
        known.set(pool.id, now);
      }
      const isTold = now.told !== null && monotonicMs() - now.told.atMs < toldMs;
      // Containers that start are counted too: while nothing answers, none of them does.
      const answers = pool.shards.some((shard) => readyShards.has(shard));
      return {
        desired: isTold && now.told !== null ? now.told.replicas : unknownDesired,
        ready: answers ? containers.count : 0,
      };
    },
    async apply(pool, replicas, _token, signal) {
      const server = serverOf(pool);
      if (server === null) return "failed";
      const now = await identify(pool, server, signal);
      if ("kind" in now) return outcomeOf(pool, now.kind);
      const bounds = {
        containersMin: replicas,
        containersMax: pool.replicasMax,
        // The vertical move: Modal fills a container up to its declared share before it starts one beyond the plan.
        concurrency: server.concurrentRequestsMax / pool.replicasMax,
      };
      // Whatever becomes of it, what was told before is not known to hold.
      known.set(pool.id, { ...now, containers: null, told: null });
      const answer = await control.bound(server, now.id, bounds, signal);
      if (answer.kind !== "ok") return outcomeOf(pool, answer.kind);
      // It took the call and keeps another floor: it gives less than it was told.
      if (answer.value !== null && answer.value !== replicas) return "quotaRefused";
      const told = { replicas, atMs: monotonicMs() };
      known.set(pool.id, { ...now, containers: null, told });
      return "applied";
    },
    close() {},
  };
}
