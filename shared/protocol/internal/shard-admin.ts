import * as z from "zod";
import { abilitySources, metricsFamilies } from "../../config/engine-abilities.ts";
import type { KnownAbilities } from "../../config/engine-abilities.ts";
import { shardLifecycles } from "../../warming/shard-lifecycle.ts";
import type { ShardLifecycle } from "../../warming/shard-lifecycle.ts";

/** Edge → cell, `POST /internal/shards`: takes a shard out of selection, or puts it back. */
export type ShardCommand =
  | {
      readonly kind: "drain";
      readonly shard: string;
      /** Time from now after which turns that still run on it go on elsewhere, ms. */
      readonly deadlineMs: number;
    }
  | { readonly kind: "undrain"; readonly shard: string };

/** A shard as its cell tells it: `GET /internal/shards` answers `{"shards": […]}`, a command with the one it is about. */
export interface ShardAdminState {
  readonly id: string;
  readonly model: string;
  /** `draining`: it takes no new turn and has running ones. `drained`: it has none. */
  readonly state: "active" | "draining" | "drained";
  readonly inFlight: number;
  readonly breaker: string;
  /** Absolute, ms since the epoch; null while it is active. */
  readonly deadlineMs: number | null;
  /** Health weight, 0..1; absent, as its life, from cells that do not tell it. */
  readonly weight?: number | undefined;
  /** Whether it runs, why that is thought, and the expected time until it answers once it is asked, ms; null where nobody can say. */
  readonly life?:
    | {
        readonly lifecycle: ShardLifecycle;
        readonly reason: string;
        readonly readyInMs: number | null;
      }
    | undefined;
  /** What is known of its engine; absent from cells that do not tell it. */
  readonly engine?: KnownAbilities | undefined;
}

/** Longest time that turns may be left on a drained shard, ms: the longest deadline of a turn (docs/architecture.md). */
export const drainMsMax = 3_600_000;

const shard = z.string().min(1).max(128);
const commandSchema = z.discriminatedUnion("kind", [
  z.strictObject({
    kind: z.literal("drain"),
    shard,
    deadlineMs: z.int().min(0).max(drainMsMax),
  }),
  z.strictObject({ kind: z.literal("undrain"), shard }),
]);

const engineSchema = z.object({
  source: z.enum(abilitySources),
  abilities: z.object({
    tokenIds: z.boolean(),
    continueFinalMessage: z.boolean(),
    cacheSalt: z.boolean(),
    priority: z.boolean(),
    loadHeader: z.boolean(),
    usageInStream: z.boolean(),
    metrics: z.enum(metricsFamilies).nullable(),
  }),
});

const answerSchema = z.object({
  shards: z
    .array(
      z.object({
        id: shard,
        model: z.string().min(1).max(128),
        state: z.enum(["active", "draining", "drained"]),
        inFlight: z.int().min(0),
        breaker: z.string().max(16),
        weight: z.number().min(0).max(1).optional(),
        life: z
          .object({
            lifecycle: z.enum(shardLifecycles),
            reason: z.string().max(32),
            readyInMs: z.number().min(0).nullable(),
          })
          .optional(),
        deadlineMs: z.int().min(0).nullable(),
        engine: engineSchema.optional(),
      }),
    )
    .max(1024),
});

/** The command in `value`, or null when it is none. */
export function parseShardCommand(value: unknown): ShardCommand | null {
  const parsed = commandSchema.safeParse(value);
  return parsed.success ? parsed.data : null;
}

/** The shards that a cell tells, or null when the answer is none. */
export function parseShardStates(value: unknown): readonly ShardAdminState[] | null {
  const parsed = answerSchema.safeParse(value);
  return parsed.success ? parsed.data.shards : null;
}
