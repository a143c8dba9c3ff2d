import { priorities } from "../config/topology.ts";
import type { Priority } from "../config/topology.ts";
import type { EngineRequest } from "../protocol/internal/turn-request.ts";
import type { JsonObject } from "../protocol/json.ts";

/** What the cell knows about the engine that a request goes to. */
export interface EngineDialect {
  /** The name that the engine knows the model by. */
  readonly engineModel: string;
  /** Null for an engine that does not know `cache_salt`: an OpenAI-compatible server may refuse unknown fields. */
  readonly cacheSalt: string | null;
  /** Null for an engine without priority scheduling. */
  readonly priority: Priority | null;
  readonly hasTokenIds: boolean;
  /** False for an engine that refuses `stream_options`, or tells no usage for it. */
  readonly hasUsageInStream: boolean;
}

/**
 * The body for the engine: the client's fields, and over them those that only the gateway sets. Generation is always
 * streamed, with usage where the engine tells it; embeddings never.
 */
export function composeEngineBody(
  path: EngineRequest["path"],
  body: JsonObject,
  dialect: EngineDialect,
): JsonObject {
  const salted: JsonObject =
    dialect.cacheSalt === null || path === "embeddings" ? {} : { cache_salt: dialect.cacheSalt };
  if (path === "embeddings") return { ...body, model: dialect.engineModel };
  return {
    ...body,
    model: dialect.engineModel,
    stream: true,
    ...(dialect.hasUsageInStream ? { stream_options: { include_usage: true } } : {}),
    ...(dialect.hasTokenIds ? { return_token_ids: true } : {}),
    // vLLM: lower is earlier, 0 is what a request without one has.
    ...(dialect.priority === null ? {} : { priority: priorities.indexOf(dialect.priority) }),
    ...salted,
  };
}

/** The text whose HMAC under the cell's key is a prompt's cache salt: tenants never share cached prefixes. */
export function cacheSaltInput(tenant: string, jurisdiction: string, model: string): string {
  return `salt;v1;${tenant};${jurisdiction};${model}`;
}
