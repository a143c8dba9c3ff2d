import * as z from "zod";

/** Whose names an engine's `/metrics` has. */
export const metricsFamilies = ["vllm", "sglang", "llamacpp", "tgi"] as const;
/** One of {@link metricsFamilies}. */
export type MetricsFamily = (typeof metricsFamilies)[number];

/** What a shard's engine can do beyond plain chat and text completions. */
export interface EngineAbilities {
  /** `return_token_ids`, and a prompt of token ids that is taken as it is: an answer goes on from its tokens. */
  readonly tokenIds: boolean;
  /** `continue_final_message`: an answer goes on from its text. */
  readonly continueFinalMessage: boolean;
  /** `cache_salt`: cached prefixes are kept apart by it. */
  readonly cacheSalt: boolean;
  /** `priority` as vLLM means it, lower is earlier, with priority scheduling on. */
  readonly priority: boolean;
  /** Tells its load in a header of each answer that asks for it. */
  readonly loadHeader: boolean;
  /** Null: it has no metrics that are known. */
  readonly metrics: MetricsFamily | null;
  /** `stream_options.include_usage`. */
  readonly usageInStream: boolean;
}

/** An ability that an engine has or has not. */
export type Ability = Exclude<keyof EngineAbilities, "metrics">;

/** All of them, in the order in which they are shown. */
export const abilityNames = [
  "tokenIds",
  "continueFinalMessage",
  "cacheSalt",
  "priority",
  "loadHeader",
  "usageInStream",
] as const satisfies readonly Ability[];

/** OpenAI's API alone: what an engine gets that proved nothing. Usage in streams is part of that API, and bills go by it. */
export const plainAbilities: EngineAbilities = {
  tokenIds: false,
  continueFinalMessage: false,
  cacheSalt: false,
  priority: false,
  loadHeader: false,
  metrics: null,
  usageInStream: true,
};

/** vLLM from 0.10.2 on as it comes: priority scheduling has to be switched on (docs.vllm.ai, engine arguments, 2026). */
export const vllmAbilities: EngineAbilities = {
  tokenIds: true,
  continueFinalMessage: true,
  cacheSalt: true,
  priority: false,
  loadHeader: true,
  metrics: "vllm",
  usageInStream: true,
};

/** `backend.abilities` of the topology: what is written there is not asked for. */
export const statedAbilitiesSchema = z.strictObject({
  tokenIds: z.boolean().optional(),
  continueFinalMessage: z.boolean().optional(),
  cacheSalt: z.boolean().optional(),
  priority: z.boolean().optional(),
  loadHeader: z.boolean().optional(),
  usageInStream: z.boolean().optional(),
  metrics: z.enum([...metricsFamilies, "none"]).optional(),
});

/** Abilities that somebody stated; what is absent is not known. */
export type StatedAbilities = z.infer<typeof statedAbilitiesSchema>;

/** How what is known of an engine came to be known. */
export const abilitySources = [
  /** All of it stands in the topology, or goes with the backend's kind. */
  "stated",
  /** Every question was answered, except for what the topology states. */
  "probed",
  /** Some questions are not answered yet: what they would have proven is not used. */
  "partly",
  /** No question was answered yet. */
  "unknown",
] as const;
/** One of {@link abilitySources}. */
export type AbilitySource = (typeof abilitySources)[number];

/** What is known of a shard's engine. */
export interface KnownAbilities {
  readonly abilities: EngineAbilities;
  readonly source: AbilitySource;
}
