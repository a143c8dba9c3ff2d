import type { PoolDescription } from "#shared/config/scaling.ts";
import type { ShardDescription } from "#shared/config/topology.ts";
import type { ShardId } from "#shared/residency/brands.ts";
import type { Supervisor } from "../../ports/supervisor.ts";
import type { Platform } from "../../ports/platform.ts";
import type { ModalServer } from "./modal-control.ts";
import { createModalPlatform } from "./modal-platform.ts";
import { createProcessPlatform } from "./process-platform.ts";
import { createSageMakerPlatform } from "./sagemaker-platform.ts";

export interface PlatformsOptions {
  /** Of the cell's region. */
  readonly shards: readonly ShardDescription[];
  /** Servers whose autoscaler may be set, by their shards. */
  readonly modalServers: ReadonlyMap<ShardId, ModalServer>;
  /** The supervisor of `npm run dev`; null in a deployment. */
  readonly supervisor: Supervisor | null;
  readonly monotonicMs: () => number;
}

/** What starts and stops the replicas of a cell's region. */
export interface Platforms {
  /** Null for a pool that nothing here can change: its plans are only written. */
  of(pool: PoolDescription): Platform | null;
  close(): void;
}

/** The platforms of one cell. A Modal server without a token for its autoscaler has none: the call to make is written with the plan. */
export function createPlatforms(options: PlatformsOptions): Platforms {
  const { modalServers, monotonicMs, shards, supervisor } = options;
  const serverOf = ({ shards: [shard] }: PoolDescription): ModalServer | null =>
    shard === undefined ? null : (modalServers.get(shard) ?? null);
  const sagemaker = createSageMakerPlatform({
    monotonicMs,
    placeOf(pool) {
      const backend = shards.find(({ id }) => id === pool.shards[0])?.backend;
      if (backend?.kind !== "sagemaker" || backend.inferenceComponent === undefined) return null;
      return { region: backend.region, inferenceComponent: backend.inferenceComponent };
    },
  });
  const modal = createModalPlatform({ monotonicMs, serverOf });
  const process = supervisor === null ? null : createProcessPlatform(supervisor);
  return {
    of(pool) {
      switch (pool.platform) {
        case "sagemaker":
          return sagemaker;
        case "process":
          return process;
        case "modal":
          return serverOf(pool) === null ? null : modal;
        case "none":
          return null;
      }
    },
    close: () => sagemaker.close(),
  };
}
