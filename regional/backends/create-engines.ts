import type { createCacheSalt } from "../adapters/cache-salt.ts";
import { createPrefixId } from "../adapters/prefix-id.ts";
import type { CellConfig, ConfiguredShard } from "../config.ts";
import type { Clock } from "../ports/clock.ts";
import type { Engine } from "../ports/engine.ts";
import { plainAbilities, vllmAbilities } from "#shared/config/engine-abilities.ts";
import type { StatedAbilities } from "#shared/config/engine-abilities.ts";
import { describeAbilities } from "#shared/engines/settle-abilities.ts";
import type { Log } from "#shared/telemetry/log-record.ts";
import type { ShardId } from "#shared/residency/brands.ts";
import type { EngineLoad } from "#shared/routing/engine-load.ts";
import type { ProbeReport } from "./capabilities.ts";
import { createModal } from "./modal.ts";
import { createOpenAiCompatible } from "./openai-compatible.ts";
import { createShardLookup } from "./shard-lookup.ts";

/** The simulated engine speaks vLLM's API; what it is like is not asked. */
const simulatedAbilities: StatedAbilities = {
  ...vllmAbilities,
  metrics: vllmAbilities.metrics ?? "none",
};

/** A server whose platform takes it down is starting when it answers 503: full ones say 429. */
function isStarting(status: number): boolean {
  return status === 503;
}

/** The engines of a cell's shards. The AWS SDK is loaded only where a shard needs it. */
export async function createEngines(
  config: CellConfig,
  cacheSalt: ReturnType<typeof createCacheSalt>,
  clock: Clock,
  log: Log,
  onLoad: (shard: ShardId, load: EngineLoad) => void,
): Promise<ReadonlyMap<ShardId, Engine>> {
  const prefixId = createPrefixId(config.cacheSaltKey);

  async function create({ description, engineModel, place }: ConfiguredShard): Promise<Engine> {
    const shard = description.id;
    const common = { shard, engineModel, cacheSalt, clock };
    const onProbed = ({ abilities, source }: ProbeReport): void =>
      log(source === "probed" ? "info" : "warn", "shard_probed", {
        shard,
        reason: source,
        abilities: describeAbilities(abilities),
      });
    const isServerless = description.scaleToZeroSeconds !== undefined;
    const lookup = (allowsPrivate: boolean) =>
      createShardLookup({
        allowsPrivate,
        onRefused: () => log("warn", "shardAddressRefused", { shard, reason: "privateAddress" }),
      });
    switch (place.kind) {
      case "sagemaker": {
        const { createSageMaker, openSageMaker } = await import("./sagemaker/sagemaker.ts");
        const { container, endpointName, inferenceComponent, region } = place;
        return createSageMaker({
          ...common,
          client: openSageMaker({ region }),
          endpointName,
          inferenceComponent,
          abilities: container === "vllm" ? vllmAbilities : plainAbilities,
          prefixId,
        });
      }
      case "modal": {
        const { key, secret, url } = place;
        return createModal({
          ...common,
          url,
          key,
          secret,
          stated: place.stated,
          onProbed,
          prefixId,
          lookup: lookup(false),
        });
      }
      case "openai-compatible":
      case "simulated": {
        const { allowsPrivateAddresses, apiKey, url } = place;
        return createOpenAiCompatible({
          ...common,
          url,
          credentials: apiKey === null ? {} : { authorization: `Bearer ${apiKey}` },
          stated: place.kind === "simulated" ? simulatedAbilities : place.stated,
          onProbed,
          lookup: lookup(allowsPrivateAddresses),
          // Asking for its load would keep a serverless shard up.
          onLoad: isServerless ? null : (load) => onLoad(shard, load),
          ...(isServerless ? { isCold: isStarting } : {}),
        });
      }
    }
  }

  const engines = await Promise.all(config.shards.map(create));
  return new Map(engines.map((engine) => [engine.shard, engine]));
}
