import { readFileSync } from "node:fs";
import * as z from "zod";
import { isProfileName, profiles } from "#dev/simulated-engine/model/profiles.ts";
import type { EngineProfile } from "#dev/simulated-engine/model/profiles.ts";
import { UsageError } from "#dev/capacity/usage-error.ts";

/** One simulated shard: an engine of one replica on its own hardware. */
export interface FleetShard {
  readonly id: string;
  readonly profile: EngineProfile;
  readonly concurrentRequestsMax: number;
  readonly usdPerHour: number;
  /** Set where it serves the smaller model that tenants allow, and not the one that is asked for. */
  readonly isSmaller?: boolean;
}

/** What all tenants allow of the degradation levels; without it they allow none of this. */
export interface TenantRules {
  /** A smaller model in place of the one that is asked for. */
  readonly smallerModel: boolean;
  /** Long histories to be cut. */
  readonly historyCut: boolean;
}

/** Nothing that needs a permission. */
export const nothingAllowed: TenantRules = { smallerModel: false, historyCut: false };

/** A fleet with what its tenants allow. */
export interface FleetFile {
  readonly shards: readonly FleetShard[];
  readonly tenants: TenantRules;
}

const schema = z.strictObject({
  model: z.string().min(1),
  shards: z
    .array(
      z.strictObject({
        name: z.string().min(1),
        profile: z.string().refine(isProfileName, {
          error: ({ input }) =>
            `got ${String(input)}, wanted one of ${Object.keys(profiles).join(", ")}`,
        }),
        count: z.int().min(1).max(1_024),
        concurrentRequestsMax: z.int().min(1).max(4_096),
        usdPerHour: z.number().min(0),
        isSmaller: z.boolean().default(false),
      }),
    )
    .min(1)
    .refine((shards) => shards.some(({ isSmaller }) => !isSmaller), {
      error: "got smaller models alone, wanted shards of the model that is asked for",
    }),
  tenants: z
    .strictObject({
      smallerModel: z.boolean().default(false),
      historyCut: z.boolean().default(false),
    })
    .default(nothingAllowed),
});

/** Reads a fleet file. @throws UsageError naming the field when it is missing or wrong. */
export function readFleet(path: string): FleetFile {
  let parsed: unknown;
  try {
    parsed = JSON.parse(readFileSync(path, "utf8"));
  } catch (error) {
    throw new UsageError(
      `--fleet ${path}: ${error instanceof Error ? error.message : "unreadable"}`,
    );
  }
  const result = schema.safeParse(parsed);
  if (!result.success) throw new UsageError(`--fleet ${path}: ${z.prettifyError(result.error)}`);
  const { shards, tenants } = result.data;
  return {
    tenants,
    shards: shards.flatMap(
      ({ name, profile, count, concurrentRequestsMax, usdPerHour, isSmaller }) =>
        Array.from({ length: count }, (_, index) => ({
          id: `${name}-${index + 1}`,
          profile: isProfileName(profile) ? profiles[profile] : profiles["cpu-test"],
          concurrentRequestsMax,
          usdPerHour,
          isSmaller,
        })),
    ),
  };
}
