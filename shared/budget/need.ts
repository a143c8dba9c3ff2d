import { costMicroUsd } from "./cost.ts";
import type { Need } from "./scope.ts";
import type { ModelDescription } from "../config/topology.ts";
import type { Api } from "../protocol/internal/turn-request.ts";

/** What is known of a request before it runs. */
export interface RequestSize {
  readonly api: Api;
  readonly choices: number;
  readonly promptTokensEstimate: number;
  /** Bytes of the body: what the client sends cannot have more tokens, since none is shorter than a byte. */
  readonly bodyBytes: number;
  /** Whether the prompt has parts that the body does not show: a stored history, images. */
  readonly hasHiddenParts: boolean;
  /** As the client set it. */
  readonly completionTokensMax: number | null;
}

/**
 * Tokens reserved per choice when the client set no maximum and only a rate is limited: a rate is a quota, settled by
 * what was used, and the whole context of a model would refuse a tenant's second request.
 */
const completionTokensAssumed = 4_096;
/** Tokens that a chat template may put around a prompt whatever it holds: a preamble, and how to call tools. */
const templateTokensMax = 512;
/**
 * Estimates are reserved one and a half times: of 430 texts in 60 languages, code and data, one had more tokens than that by
 * the worst of four tokenizers (docs/decisions/0011).
 */
const estimateMargin = 1.5;

/** The most tokens that the prompt can have: by its bytes, and by its model's context where it is one prompt. */
function promptTokensMax(size: RequestSize, { contextTokensMax }: ModelDescription): number {
  const byBytes = size.hasHiddenParts ? Infinity : size.bodyBytes + templateTokensMax;
  const isOnePrompt = size.api === "chat" || size.api === "responses";
  const byContext = isOnePrompt || size.hasHiddenParts ? contextTokensMax : Infinity;
  return Math.min(byBytes, byContext);
}

/**
 * What is reserved for a request. Money by what cannot be exceeded: the prompt's bytes, and the context where the client
 * gave the answer no bound; a budget is never overdrawn. Tokens by what is likely: the estimate with its margin, since a
 * rate that reserved by the byte would refuse three of four requests that fit it.
 */
export function needOf(size: RequestSize, model: ModelDescription): Need {
  const promptMax = promptTokensMax(size, model);
  const prompt = Math.min(promptMax, Math.ceil(size.promptTokensEstimate * estimateMargin));
  const rest = Math.max(0, model.contextTokensMax - size.promptTokensEstimate);
  const hasAnswer = size.api !== "embeddings";
  const answer = size.completionTokensMax ?? Math.min(rest, completionTokensAssumed);
  const answerMax = size.completionTokensMax ?? model.contextTokensMax;
  const choices = hasAnswer ? size.choices : 0;
  return {
    tokens: prompt + answer * choices,
    costMicroUsd: costMicroUsd(model, { prompt: promptMax, completion: answerMax * choices }),
  };
}
