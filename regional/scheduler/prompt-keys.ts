import type { EngineRequest } from "#shared/protocol/internal/turn-request.ts";
import type { JsonObject } from "#shared/protocol/json.ts";
import { chunkKeys } from "#shared/routing/chunk-keys.ts";

/** A prompt and whose it is. */
export interface KeyedPrompt {
  readonly tenant: string;
  readonly jurisdiction: string;
  readonly model: string;
  readonly path: EngineRequest["path"];
  readonly body: JsonObject;
}

/** Keys of a prompt's leading chunks. They stay in the cell. */
export type PromptKeys = (prompt: KeyedPrompt) => readonly number[];

/**
 * Seeds the keys with the tenant's cache salt: what is known of one tenant's prompts says nothing of another's, as engines
 * share no cache between them either. Embeddings keep no prefix.
 */
export function createPromptKeys(
  cacheSalt: (tenant: string, jurisdiction: string, model: string) => string,
): PromptKeys {
  return ({ body, jurisdiction, model, path, tenant }) =>
    path === "embeddings" ? [] : chunkKeys(cacheSalt(tenant, jurisdiction, model), body);
}
