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
      }),
    )
    .min(1),
});

/** Reads a fleet file. @throws UsageError naming the field when it is missing or wrong. */
export function readFleet(path: string): readonly FleetShard[] {
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
  return result.data.shards.flatMap(({ name, profile, count, concurrentRequestsMax, usdPerHour }) =>
    Array.from({ length: count }, (_, index) => ({
      id: `${name}-${index + 1}`,
      profile: isProfileName(profile) ? profiles[profile] : profiles["cpu-test"],
      concurrentRequestsMax,
      usdPerHour,
    })),
  );
}
