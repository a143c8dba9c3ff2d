import type {
  CellId,
  ConversationId,
  Jurisdiction,
  RegionId,
  ShardId,
  TenantId,
  TurnId,
} from "#shared/residency/brands.ts";

/** Identifiers of the simulated world, shaped like real ones; their MACs say nothing. */
const mac = "m".repeat(22);

export function randomPart(prefix: string, number: number, length: number): string {
  return prefix + String(number).padStart(length - prefix.length, "0");
}

export function conversationIdOf(zone: string, conversationRandom: string): ConversationId {
  return `conv_${zone}_aaaaaaaa_${conversationRandom}_${mac}` as ConversationId;
}

export function turnIdOf(zone: string, conversationRandom: string, turnRandom: string): TurnId {
  return `turn_${zone}_aaaaaaaa_${conversationRandom}${turnRandom}_${mac}` as TurnId;
}

/** A cell and what it has. */
export interface CellPlan {
  readonly id: CellId;
  readonly region: RegionId;
  readonly zone: Jurisdiction;
  readonly shards: readonly ShardId[];
}

function cell(zone: string, region: string, id: string): CellPlan {
  return {
    id: id as CellId,
    region: region as RegionId,
    zone: zone as Jurisdiction,
    shards: [0, 1].map((number) => `${id}/shard-${number}` as ShardId),
  };
}

/** Two jurisdictions; one has two regions. */
export const cellPlans: readonly CellPlan[] = [
  cell("eu", "eu-1", "eu-1a"),
  cell("eu", "eu-1", "eu-1b"),
  cell("eu", "eu-2", "eu-2a"),
  cell("us", "us-1", "us-1a"),
  cell("us", "us-1", "us-1b"),
];

export const zones = ["eu", "us"] as const;
export const tenants = ["acme", "bolt"] as readonly string[] as readonly TenantId[];
export const modelId = "sim/model";
