import type { PoolDescription } from "../config/scaling.ts";

/**
 * The call that gives a Modal server so many containers (Modal's reference, `update_autoscaler`; the next deploy undoes it). The
 * topology does not tell its app and its name (`backend.autoscaler`), which the operator puts in.
 */
export function modalCommand(
  { replicasMax }: Pick<PoolDescription, "replicasMax">,
  replicas: number,
): string {
  return `modal.Server.from_name(APP, NAME).update_autoscaler(min_containers=${replicas}, max_containers=${replicasMax}, buffer_containers=0)`;
}
