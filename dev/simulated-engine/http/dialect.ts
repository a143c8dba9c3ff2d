/** Abilities that an engine can be without, so that it answers as other servers than vLLM do. */
import { EngineError } from "./errors.ts";

/** What can be switched off. Load header and metrics are then not told; the rest are fields of requests. */
export const dialectAbilities = [
  "tokenIds",
  "continueFinalMessage",
  "cacheSalt",
  "priority",
  "loadHeader",
  "metrics",
  "usageInStream",
] as const;
export type DialectAbility = (typeof dialectAbilities)[number];

/** Whether `name` is one of {@link dialectAbilities}. */
export function isDialectAbility(name: string): name is DialectAbility {
  return dialectAbilities.some((one) => one === name);
}

/** Fields that belong to an ability. `add_generation_prompt` is older in vLLM than `continue_final_message` and stays. */
const fields: Partial<Readonly<Record<DialectAbility, string>>> = {
  tokenIds: "return_token_ids",
  continueFinalMessage: "continue_final_message",
  cacheSalt: "cache_salt",
  priority: "priority",
  usageInStream: "stream_options",
};

/**
 * The body as an engine without some abilities sees it: their fields are not there. @throws EngineError 400 where the
 * engine refuses unknown fields instead.
 */
export function withoutFields(
  body: unknown,
  without: readonly DialectAbility[],
  isStrict: boolean,
): unknown {
  if (typeof body !== "object" || body === null || without.length === 0) return body;
  const unknown = new Set(without.flatMap((ability) => fields[ability] ?? []));
  const found = Object.keys(body).filter((name) => unknown.has(name));
  if (isStrict && found.length > 0)
    throw new EngineError(400, `${found.join(", ")}: Extra inputs are not permitted`);
  return Object.fromEntries(Object.entries(body).filter(([name]) => !unknown.has(name)));
}
