import type { ModelDescription } from "#shared/config/topology.ts";
import { GatewayError } from "#shared/errors/gateway-error.ts";
import type { ErrorOutcome } from "#shared/errors/gateway-error.ts";
import type { Api } from "#shared/protocol/internal/turn-request.ts";
import type { JsonObject } from "#shared/protocol/json.ts";
import type { GenerationRequest } from "#shared/protocol/openai/generation-request.ts";
import { checkContextLength } from "#shared/protocol/openai/truncate-items.ts";
import type { EdgeDeps } from "../ports.ts";
import type { RequestFacts } from "../request-facts.ts";

/** A parsed request that its jurisdiction can serve. */
export interface PreparedTurn {
  readonly api: Api;
  readonly generation: GenerationRequest;
  readonly model: ModelDescription;
  /** Bytes of the body, and whether it refers to a stored history: the most that the prompt can cost. */
  readonly bodyBytes: number;
  readonly hasHistory: boolean;
  /** Request fields that the answer repeats; empty but for responses. */
  readonly echo: JsonObject;
  /** A keyed hash that prompts with a shared prefix have in common; scoped by tenant, jurisdiction and model. */
  readonly affinityKey: string;
}

/** Length of an affinity key: 32 of 62 letters. */
const affinityKeyLength = 32;

/** The parameter that asks for a capability, for the refusal. */
const parameterOf: Readonly<Record<string, string>> = {
  tools: "tools",
  json: "response_format",
  vision: "messages",
};

const promptParameter = {
  chat: "messages",
  responses: "input",
  completions: "prompt",
  embeddings: "prompt",
} as const;

/** @throws GatewayError with what a parser, a decision or an object refused. */
export function throwRefusal(error: ErrorOutcome): never {
  const { code, message, param, retryAfterMs } = error;
  throw new GatewayError(code, message, {
    ...(param === undefined ? {} : { param }),
    ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
  });
}

/** @throws GatewayError `model_not_found`: not served here, wherever else it may be. */
export function findModel(facts: RequestFacts, id: string): ModelDescription {
  const model = facts.jurisdiction.models.get(id);
  if (model === undefined) {
    throw new GatewayError(
      "model_not_found",
      "The model does not exist in this jurisdiction. GET /v1/models lists those that do.",
      { param: "model" },
    );
  }
  return model;
}

function checkCapabilities(api: Api, model: ModelDescription, generation: GenerationRequest): void {
  const missing = generation.capabilities.find((wanted) => !model.capabilities.includes(wanted));
  if (missing === undefined) return;
  const isOwnApi = missing === "chat" || missing === "completions" || missing === "embeddings";
  const named = api === "responses" && missing === "json" ? "text.format" : parameterOf[missing];
  throw new GatewayError("invalid_request", `This model has no capability '${missing}'.`, {
    param: isOwnApi ? "model" : (named ?? "model"),
  });
}

/** The key by which prompts that share a prefix meet on one shard; an HMAC, because it travels. */
async function affinityKeyOf(
  deps: EdgeDeps,
  facts: RequestFacts,
  generation: GenerationRequest,
): Promise<string> {
  const { promptCacheKey, userKey, affinityText } = generation;
  const [kind, value] =
    promptCacheKey !== null
      ? ["cache", promptCacheKey]
      : userKey !== null
        ? ["user", userKey]
        : ["prefix", affinityText];
  const scope = `${facts.jurisdiction.id};${facts.tenant.id};${generation.model}`;
  return deps.identifiers.mac(`affinity;v1;${scope};${kind};${value}`, affinityKeyLength);
}

/** Checks that the jurisdiction can serve the request. @throws GatewayError with the refusal. */
export async function prepareTurn(
  deps: EdgeDeps,
  facts: RequestFacts,
  request: {
    readonly api: Api;
    readonly generation: GenerationRequest;
    readonly bodyBytes: number;
    readonly hasHistory: boolean;
    readonly echo?: JsonObject;
    /** Whether the history may be cut to fit; the prompt's length is then judged later. */
    readonly mayTruncate?: boolean;
  },
): Promise<PreparedTurn> {
  const { api, generation, bodyBytes, hasHistory, echo = {}, mayTruncate = false } = request;
  const model = findModel(facts, generation.model);
  checkCapabilities(api, model, generation);
  if (!mayTruncate && api !== "embeddings") {
    const refusal = checkContextLength(generation.promptTokensEstimate, {
      contextTokensMax: model.contextTokensMax,
      completionTokensMax: generation.completionTokensMax,
      param: promptParameter[api],
    });
    if (refusal !== null) throwRefusal(refusal);
  }
  const affinityKey = await affinityKeyOf(deps, facts, generation);
  return { api, generation, model, bodyBytes, hasHistory, echo, affinityKey };
}
