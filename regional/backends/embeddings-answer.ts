import type { JsonObject } from "#shared/protocol/json.ts";
import type { Usage } from "#shared/protocol/usage.ts";

/** An embeddings answer as it may be passed on, with its usage, or null when it is not one. */
export function readEmbeddingsAnswer(
  bytes: Uint8Array,
  model: string,
  inputs: number,
): { readonly body: JsonObject; readonly usage: Usage } | null {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch {
    return null;
  }
  if (typeof value !== "object" || value === null || !("data" in value)) return null;
  const { data } = value;
  if (!Array.isArray(data) || data.length !== inputs) return null;
  const rows: JsonObject[] = [];
  for (const [index, entry] of (data as readonly unknown[]).entries()) {
    const embedding = embeddingOf(entry, index);
    if (embedding === null) return null;
    rows.push({ object: "embedding", index, embedding });
  }
  const promptTokens = promptTokensOf(value);
  if (promptTokens === null) return null;
  return {
    body: {
      object: "list",
      data: rows,
      model,
      usage: { prompt_tokens: promptTokens, total_tokens: promptTokens },
    },
    usage: { promptTokens, completionTokens: 0, cachedTokens: 0, reasoningTokens: 0 },
  };
}

/** The vector at its place: finite numbers, or base64 of floats. */
function embeddingOf(entry: unknown, index: number): readonly number[] | string | null {
  if (typeof entry !== "object" || entry === null || !("embedding" in entry)) return null;
  if ("index" in entry && entry.index !== index) return null;
  const { embedding } = entry;
  if (typeof embedding === "string") {
    return /^[0-9A-Za-z+/]+={0,2}$/.test(embedding) ? embedding : null;
  }
  if (!Array.isArray(embedding) || embedding.length === 0) return null;
  const isVector = (embedding as readonly unknown[]).every((part) => Number.isFinite(part));
  return isVector ? (embedding as readonly number[]) : null;
}

function promptTokensOf(value: object): number | null {
  if (!("usage" in value) || typeof value.usage !== "object" || value.usage === null) return null;
  if (!("prompt_tokens" in value.usage)) return null;
  const tokens = value.usage.prompt_tokens;
  return typeof tokens === "number" && Number.isSafeInteger(tokens) && tokens >= 0 ? tokens : null;
}
