import type { ErrorOutcome } from "../../errors/gateway-error.ts";
import type { JsonObject } from "../json.ts";
import { jsonDepthMax, jsonKeysMax, scanJson } from "./json-scan.ts";
import type { JsonFault, JsonProblem } from "./json-scan.ts";
import { formatPath, showName } from "./parameter-path.ts";
import { typeName } from "./refusals.ts";

/** A body as an object that may be trusted to be plain JSON, or why it is none. */
export type JsonBodyResult =
  | { readonly ok: true; readonly value: JsonObject }
  | { readonly ok: false; readonly error: ErrorOutcome };

const explanations: Readonly<Record<JsonFault, string>> = {
  malformed: "is not valid JSON: unexpected character",
  truncated: "is not valid JSON: it ends too early",
  tooDeep: `is nested deeper than ${jsonDepthMax} levels`,
  tooManyKeys: `has more than ${jsonKeysMax} keys`,
  duplicateKey: "has the same key twice in one object",
  forbiddenKey: "has a key that is not allowed (__proto__ or constructor.prototype)",
  nul: "holds a NUL character (U+0000)",
  loneSurrogate: "holds half of a surrogate pair, which is no Unicode text",
  numberTooLarge: "has a number beyond the range of a double",
};

function refuse({ fault, offset, path }: JsonProblem, text: string): ErrorOutcome {
  const before = text.slice(0, offset);
  const line = before.split("\n").length;
  const column = offset - before.lastIndexOf("\n");
  const param = formatPath(path);
  const place = param === "" ? "" : ` (in '${param}')`;
  return {
    code: fault === "tooDeep" || fault === "tooManyKeys" ? "body_too_large" : "invalid_request",
    message: `The request body ${explanations[fault]}, at line ${line}, column ${column}${place}.`,
    ...(param === "" ? {} : { param }),
  };
}

/**
 * The body as a JSON object. The text is scanned before it is parsed, so that depth and width cost nothing; refusals name
 * place and parameter and never repeat content. Its objects hold no `__proto__` key. Linear; never throws.
 */
export function parseJsonBody(text: string): JsonBodyResult {
  if (text === "") {
    const message = "The request body is empty: expected a JSON object.";
    return { ok: false, error: { code: "invalid_request", message } };
  }
  const problem = scanJson(text);
  if (problem !== null) return { ok: false, error: refuse(problem, text) };
  const value: unknown = JSON.parse(text);
  if (isJsonObject(value)) return { ok: true, value };
  const message = `The request body must be a JSON object, but it is ${typeName(value)}.`;
  return { ok: false, error: { code: "invalid_request", message } };
}

/** Whether `value`, which came out of JSON, is an object and no array. */
export function isJsonObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** The refusal of the first query parameter that `allowed` does not hold, or null when there is none. */
export function unknownQueryParameter(
  names: Iterable<string>,
  allowed: readonly string[],
): ErrorOutcome | null {
  for (const name of names) {
    if (allowed.includes(name)) continue;
    const shown = showName(name);
    const known = allowed.length === 0 ? "none" : allowed.join(", ");
    return {
      code: "invalid_request",
      message: `Unknown query parameter: '${shown}'. Known here: ${known}.`,
      param: shown,
    };
  }
  return null;
}
