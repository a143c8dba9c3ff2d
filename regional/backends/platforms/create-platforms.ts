import type { PoolDescription } from "#shared/config/scaling.ts";
import type { CellDescription, Topology } from "#shared/config/topology.ts";
import type { ShardId } from "#shared/residency/brands.ts";
import type { Supervisor } from "../../ports/supervisor.ts";
import type { Platforms } from "../../ports/platform.ts";
import type { ModalServer } from "./modal-control.ts";
import { createModalPlatform } from "./modal-platform.ts";
import { createProcessPlatform } from "./process-platform.ts";
import { createSageMakerPlatform } from "./sagemaker-platform.ts";

export interface PlatformsOptions {
  readonly config: {
    readonly cell: CellDescription;
    readonly topology: Topology;
    /** Servers whose autoscaler may be set, by their shards. */
    readonly modalServers: ReadonlyMap<ShardId, ModalServer>;
  };
  /** The supervisor of `npm run dev`; null in a deployment. */
  readonly supervisor: Supervisor | null;
  readonly monotonicMs: () => number;
}

/** The platforms of one cell. A Modal server without a token for its autoscaler has none: the call to make is written with the plan. */
export function createPlatforms(options: PlatformsOptions): Platforms {
  const { config, monotonicMs, supervisor } = options;
  const { cell, modalServers, topology } = config;
  const shards = topology.jurisdictions.get(cell.jurisdiction)?.shards ?? [];
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
