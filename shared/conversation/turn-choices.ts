import type { EngineRequest } from "../protocol/internal/turn-request.ts";
import type { JsonObject, JsonValue } from "../protocol/json.ts";

/** How many inputs `value` stands for: a text or a list of token ids is one, a list of those is many. */
function inputsOf(value: JsonValue | undefined): number {
  if (!Array.isArray(value) || value.length === 0) return 1;
  return typeof value[0] === "number" ? 1 : value.length;
}

/** How many choices or vectors an engine request asks for: `n`, for completions of each prompt; embeddings: inputs. */
export function choicesOf(path: EngineRequest["path"], body: JsonObject): number {
  if (path === "embeddings") return inputsOf(body["input"]);
  const n = body["n"];
  const each = typeof n === "number" && Number.isSafeInteger(n) && n > 0 ? n : 1;
  return path === "completions" ? each * inputsOf(body["prompt"]) : each;
}
