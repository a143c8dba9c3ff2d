import * as z from "zod";

/** Largest `n` (OpenAI's own maximum is 128); every choice holds a place on a shard. */
export const choicesPerPromptMax = 16;
/** OpenAI API reference: up to 4 sequences. */
const stopSequencesMax = 4;
/** OpenAI API reference, metadata: 16 pairs, keys of 64, values of 512 characters. */
const metadataPairsMax = 16;
/** OpenAI API reference: `tools` holds up to 128 functions. */
export const toolsMax = 128;
/** Entries of `logit_bias`; vLLM's sampler holds up to 1,024. */
const logitBiasEntriesMax = 1024;
/** Characters of names that a tenant makes up: user, safety_identifier, prompt_cache_key. */
const tenantNameCharactersMax = 512;

const isNotNegativeZero = (value: number): boolean => !Object.is(value, -0);
const notNegativeZero = "a number that is not negative zero";

/** A whole number of [min, max], both safe integers; -0 is refused. */
export function integer(min: number, max: number = Number.MAX_SAFE_INTEGER): z.ZodType<number> {
  return z
    .number()
    .refine(Number.isSafeInteger, { error: "an integer of at most 2^53 - 1", abort: true })
    .min(min)
    .max(max)
    .refine(isNotNegativeZero, notNegativeZero);
}

/** A finite number of [min, max]; -0 is refused. */
export function decimal(min: number, max: number): z.ZodType<number> {
  return z.number().min(min).max(max).refine(isNotNegativeZero, notNegativeZero);
}

/** `model`: what the topology may name it, and a bound for what it may not. */
const modelName = z.string().min(1).max(256);

/** A name that the tenant makes up. */
const tenantName = z.string().max(tenantNameCharactersMax);

/** `metadata` of any object. */
export const metadata = z
  .record(z.string(), z.string().max(512))
  .refine((pairs) => Object.keys(pairs).length <= metadataPairsMax, {
    error: `at most ${metadataPairsMax} pairs`,
  })
  .refine((pairs) => Object.keys(pairs).every((key) => key.length <= 64), {
    error: "keys of at most 64 characters",
  });

/** `stop`. */
const stop = z.union([z.string().min(1), z.array(z.string().min(1)).max(stopSequencesMax)]);

/** Sampling parameters that chat and completions have in common, and that engines know for responses too. */
export const sampling = {
  frequency_penalty: decimal(-2, 2).nullish(),
  presence_penalty: decimal(-2, 2).nullish(),
  logit_bias: z
    .record(z.string().regex(/^\d{1,10}$/, "token ids as keys"), decimal(-100, 100))
    .refine((bias) => Object.keys(bias).length <= logitBiasEntriesMax, {
      error: `at most ${logitBiasEntriesMax} entries`,
    })
    .nullish(),
  seed: integer(-Number.MAX_SAFE_INTEGER).nullish(),
  stop: stop.nullish(),
  temperature: decimal(0, 2).nullish(),
  top_p: decimal(0, 1).nullish(),
};

/** Fields of every generation request that the gateway reads itself. */
export const common = {
  model: modelName,
  stream: z.boolean().nullish(),
  stream_options: z
    .looseObject({
      include_usage: z.boolean().nullish(),
      include_obfuscation: z.boolean().nullish(),
    })
    .nullish(),
  store: z.boolean().nullish(),
  metadata: metadata.nullish(),
  user: tenantName.nullish(),
  safety_identifier: tenantName.nullish(),
  prompt_cache_key: tenantName.nullish(),
  service_tier: z.string().max(64).nullish(),
};
