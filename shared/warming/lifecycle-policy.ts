import type { ShardDescription } from "../config/topology.ts";
import type { LifecyclePolicy } from "./shard-lifecycle.ts";

/**
 * How long a cold start usually takes by kind of backend, ms. SageMaker: the 258 s of an instance with container cache that AWS
 * published in June 2026 (Qwen3-8B, ml.g6.2xlarge). Modal: 70 s with a GPU snapshot of a 27B model, as Modal published. An own
 * server: a container and 8B weights from a local disk (our choice). Simulated: the engine's own default.
 */
const usualStartMs = {
  sagemaker: 260_000,
  modal: 70_000,
  "openai-compatible": 120_000,
  simulated: 1_000,
} as const;

/** What the topology says of a shard's platform; its cold start as declared, else as simulated, else the platform's usual. */
export function lifecyclePolicyOf(
  shard: Pick<ShardDescription, "backend" | "coldStartSeconds" | "scaleToZeroSeconds">,
): LifecyclePolicy {
  const { backend, coldStartSeconds, scaleToZeroSeconds } = shard;
  const simulatedMs = backend.kind === "simulated" ? backend.coldStartMs : undefined;
  return {
    scaleToZeroMs: scaleToZeroSeconds === undefined ? null : 1_000 * scaleToZeroSeconds,
    coldStartMs:
      coldStartSeconds === undefined
        ? (simulatedMs ?? usualStartMs[backend.kind])
        : 1_000 * coldStartSeconds,
  };
}
