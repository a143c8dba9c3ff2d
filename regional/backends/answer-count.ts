import type { JsonObject, JsonValue } from "#shared/protocol/json.ts";

/** How many inputs `value` stands for: a text or a list of token ids is one, a list of those is many. */
function inputsOf(value: JsonValue | undefined): number {
  if (!Array.isArray(value) || value.length === 0) return 1;
  return typeof value[0] === "number" ? 1 : value.length;
}

/** How many choices a generation request asks for: `n`, for completions of each prompt. */
export function choicesOf(path: "chat/completions" | "completions", body: JsonObject): number {
  const n = body["n"];
  const each = typeof n === "number" && Number.isSafeInteger(n) && n > 0 ? n : 1;
  return path === "completions" ? each * inputsOf(body["prompt"]) : each;
}

/** How many vectors an embeddings request asks for. */
export function vectorsOf(body: JsonObject): number {
  return inputsOf(body["input"]);
}
