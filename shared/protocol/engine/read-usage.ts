import type { Usage } from "../usage.ts";
import { isCount, isFields } from "./fields.ts";

/**
 * An engine's `usage` object as ours, or null when a count is missing or absurd. Absent details count 0: vLLM sends
 * `prompt_tokens_details` only with --enable-prompt-tokens-details.
 */
export function readUsage(value: unknown): Usage | null {
  if (!isFields(value)) return null;
  const prompt = value["prompt_tokens_details"];
  const completion = value["completion_tokens_details"];
  const promptTokens = value["prompt_tokens"];
  const completionTokens = value["completion_tokens"] ?? 0;
  const cachedTokens = isFields(prompt) ? (prompt["cached_tokens"] ?? 0) : 0;
  const reasoningTokens = isFields(completion) ? (completion["reasoning_tokens"] ?? 0) : 0;
  if (!isCount(promptTokens) || !isCount(completionTokens)) return null;
  if (!isCount(cachedTokens) || !isCount(reasoningTokens)) return null;
  if (cachedTokens > promptTokens || reasoningTokens > completionTokens) return null;
  return { promptTokens, completionTokens, cachedTokens, reasoningTokens };
}
