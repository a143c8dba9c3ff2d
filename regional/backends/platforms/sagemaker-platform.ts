import type { ApplicationAutoScalingClient } from "@aws-sdk/client-application-auto-scaling";
import type { SageMakerClient } from "@aws-sdk/client-sagemaker";
import type { PoolDescription } from "#shared/config/scaling.ts";
import type { ActuationOutcome } from "#shared/scaling/actuation.ts";
import type { PoolObservation } from "#shared/scaling/pool-supply.ts";
import type { Platform } from "../../ports/platform.ts";

/** Where the copies of a pool are. */
export interface ComponentPlace {
  readonly region: string;
  readonly inferenceComponent: string;
}

/** Settings of the SDK's clients that a test sets: where the service is, and who asks. */
export interface AwsClientSettings {
  readonly endpoint?: string;
  readonly credentials?: { readonly accessKeyId: string; readonly secretAccessKey: string };
}

export interface SageMakerPlatformOptions {
  /** Null for a pool that is none of SageMaker's. */
  readonly placeOf: (pool: PoolDescription) => ComponentPlace | null;
  readonly monotonicMs: () => number;
  readonly settings?: AwsClientSettings;
}

/** A description is good for this long: the control plane takes a few calls a second of an account. */
const seenMs = 15_000;

/** The names of what Application Auto Scaling changes (its API reference, RegisterScalableTarget). */
const namespace = "sagemaker";
const dimension = "sagemaker:inference-component:DesiredCopyCount";

interface Clients {
  readonly sagemaker: SageMakerClient;
  readonly scaling: ApplicationAutoScalingClient;
}

/** What an exception of either service means (their API references, errors). Its message is not read. */
function outcomeOf(error: unknown): ActuationOutcome {
  const name = error instanceof Error ? error.name : "";
  switch (name) {
    case "ThrottlingException":
    case "Throttling":
    case "TooManyRequestsException":
    case "ConcurrentUpdateException":
      return "throttled";
    case "ResourceLimitExceeded":
    case "LimitExceededException":
      return "quotaRefused";
    default:
      return "failed";
  }
}

/**
 * Copies of inference components. The floor of Application Auto Scaling goes first, because a copy count below or above it is undone
 * by the service; then the copies themselves, so that nobody waits for an alarm. AWS keeps no token of ours: that two leaders do not
 * call at once is the lease's promise alone. The SDK is loaded when a pool needs it, and tries once.
 */
export function createSageMakerPlatform(options: SageMakerPlatformOptions): Platform {
  const { monotonicMs, placeOf, settings = {} } = options;
  const clients = new Map<string, Promise<Clients>>();
  const seen = new Map<string, { readonly atMs: number; readonly what: PoolObservation }>();

  async function open(region: string): Promise<Clients> {
    const [{ SageMakerClient }, { ApplicationAutoScalingClient }] = await Promise.all([
      import("@aws-sdk/client-sagemaker"),
      import("@aws-sdk/client-application-auto-scaling"),
    ]);
    const config = { ...settings, region, maxAttempts: 1 };
    return {
      sagemaker: new SageMakerClient(config),
      scaling: new ApplicationAutoScalingClient(config),
    };
  }

  function clientsOf(region: string): Promise<Clients> {
    const opened = clients.get(region) ?? open(region);
    clients.set(region, opened);
    return opened;
  }

  async function describe(
    { inferenceComponent, region }: ComponentPlace,
    abortSignal: AbortSignal,
  ): Promise<PoolObservation | null> {
    const { sagemaker } = await clientsOf(region);
    const { DescribeInferenceComponentCommand } = await import("@aws-sdk/client-sagemaker");
    const command = new DescribeInferenceComponentCommand({
      InferenceComponentName: inferenceComponent,
    });
    const { RuntimeConfig } = await sagemaker.send(command, { abortSignal });
    const { CurrentCopyCount: ready, DesiredCopyCount: desired } = RuntimeConfig ?? {};
    return desired === undefined || ready === undefined ? null : { desired, ready };
  }

  return {
    async observe(pool, _readyShards, signal) {
      const place = placeOf(pool);
      if (place === null) return null;
      const known = seen.get(pool.id);
      if (known !== undefined && monotonicMs() - known.atMs < seenMs) return known.what;
      try {
        const what = await describe(place, signal);
        if (what !== null) seen.set(pool.id, { atMs: monotonicMs(), what });
        return what;
      } catch {
        return null;
      }
    },
    async apply(pool, replicas, _token, abortSignal) {
      const place = placeOf(pool);
      if (place === null) return "failed";
      seen.delete(pool.id);
      const { inferenceComponent, region } = place;
      try {
        const { sagemaker, scaling } = await clientsOf(region);
        const [
          { UpdateInferenceComponentRuntimeConfigCommand },
          { RegisterScalableTargetCommand },
        ] = await Promise.all([
          import("@aws-sdk/client-sagemaker"),
          import("@aws-sdk/client-application-auto-scaling"),
        ]);
        await scaling.send(
          new RegisterScalableTargetCommand({
            ServiceNamespace: namespace,
            ResourceId: `inference-component/${inferenceComponent}`,
            ScalableDimension: dimension,
            MinCapacity: replicas,
            MaxCapacity: pool.replicasMax,
          }),
          { abortSignal },
        );
        await sagemaker.send(
          new UpdateInferenceComponentRuntimeConfigCommand({
            InferenceComponentName: inferenceComponent,
            DesiredRuntimeConfig: { CopyCount: replicas },
          }),
          { abortSignal },
        );
        return "applied";
      } catch (error) {
        return outcomeOf(error);
      }
    },
    close() {
      for (const opened of clients.values()) {
        void opened.then(
          ({ sagemaker, scaling }) => {
            sagemaker.destroy();
            scaling.destroy();
          },
          () => {},
        );
      }
    },
  };
}
