import type { ShardFailure } from "#shared/conversation/turn-failure.ts";

/** Longest text of a refusal that is looked at, bytes. */
export const refusalBytesMax = 64 * 1024;

/** Phrases by which engines name a prompt that is too long: vLLM, SGLang, llama.cpp, Ollama, TGI, OpenAI (2026). */
const contextPhrases =
  /maximum context length|context[_ ]length|context size|longer than the (?:model'?s|maximum)|exceeds? the (?:model'?s )?(?:maximum|context|available)|max_model_len/i;

const parameterName = /^[a-z][a-z0-9_]{0,63}(?:\[\d{1,4}\]|\.[a-z][a-z0-9_]{0,63}){0,8}$/i;

/** How an answer with a status other than 200 counts. `text` is the engine's and goes no further. */
export function classifyRefusal(
  status: number,
  retryAfter: string | undefined,
  text: string,
): ShardFailure {
  if (status === 400 || status === 422) {
    const code = contextPhrases.test(text) ? "context_length_exceeded" : "invalid_request";
    const param = parameterOf(text);
    return {
      reason: "clientFault",
      status,
      fault: param === null ? { code } : { code, param },
    };
  }
  if (status === 413) {
    return { reason: "clientFault", status, fault: { code: "body_too_large" } };
  }
  if (status === 429) {
    const retryAfterMs = parseRetryAfter(retryAfter);
    return retryAfterMs === null
      ? { reason: "saturated", status }
      : { reason: "saturated", status, retryAfterMs };
  }
  if (status >= 500) return { reason: "serverError", status };
  return { reason: "unexpectedStatus", status };
}

/** Fields that only the gateway sets. */
const ownFields =
  /\b(?:cache_salt|return_token_ids|stream_options|priority|continue_final_message|add_generation_prompt)\b/;

/**
 * Whether a refusal names a field that the gateway set: the engine is perhaps not the one that was asked for its abilities.
 * Its text may quote a prompt, so this is a reason to ask again and none to count against the shard.
 */
export function namesOwnField(text: string): boolean {
  return ownFields.test(text);
}

/** `error.param` when it looks like the name of a parameter; anything else could be content. */
function parameterOf(text: string): string | null {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return null;
  }
  if (typeof value !== "object" || value === null || !("error" in value)) return null;
  const { error } = value;
  if (typeof error !== "object" || error === null || !("param" in error)) return null;
  return typeof error.param === "string" && parameterName.test(error.param) ? error.param : null;
}

/** Seconds of a Retry-After as ms, at most 60 s; dates and nonsense are no promise. */
export function parseRetryAfter(value: string | undefined): number | null {
  if (value === undefined || !/^\d{1,6}$/.test(value)) return null;
  return Math.min(60_000, Number(value) * 1000);
}
