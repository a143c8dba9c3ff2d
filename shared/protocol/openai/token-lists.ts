import type { JsonValue } from "../json.ts";
import { estimateTokens } from "./estimate-tokens.ts";
import { refuseTooMany, refuseType, refuseValue } from "./refusals.ts";
import type { Refused } from "./refusals.ts";

/** Largest token id: vocabularies fit in 31 bits, and engines read ids as 32-bit integers. */
const tokenIdMax = 2 ** 31 - 1;

/** One or many prompts, each as text or as token ids. */
export interface PromptMeasure {
  readonly count: number;
  readonly tokensEstimate: number;
  /** Text of the first prompt; its token ids when it has no text. */
  readonly firstText: string;
}

function isTokenId(value: JsonValue): boolean {
  return typeof value === "number" && Number.isInteger(value) && value >= 0 && value <= tokenIdMax;
}

function checkTokenIds(
  values: readonly JsonValue[],
  path: readonly (string | number)[],
): Refused | null {
  const index = values.findIndex((value) => !isTokenId(value) || Object.is(value, -0));
  if (index === -1) return null;
  return refuseType([...path, index], values[index], `a token id from 0 to ${tokenIdMax}`);
}

/**
 * Reads `prompt` or `input`: a string, strings, token ids, or lists of token ids, at most `countMax` prompts. Plain loops:
 * a body may hold hundreds of thousands of ids.
 */
export function measurePrompts(
  value: JsonValue,
  key: string,
  countMax: number,
): { readonly ok: true; readonly value: PromptMeasure } | Refused {
  if (typeof value === "string") {
    return measured(1, estimateTokens(value), value);
  }
  if (!Array.isArray(value)) {
    return refuseType([key], value, "a string or an array of strings or token ids");
  }
  const list: readonly JsonValue[] = value;
  const [first] = list;
  if (first === undefined) return refuseType([key], value, "at least one element");
  if (typeof first === "number") {
    const refused = checkTokenIds(list, [key]);
    return refused ?? measured(1, list.length, JSON.stringify(list.slice(0, 256)));
  }
  if (list.length > countMax) return refuseTooMany([key], countMax, "elements");
  let tokens = 0;
  for (const [index, element] of list.entries()) {
    if (typeof first === "string") {
      if (typeof element !== "string") return refuseType([key, index], element, "a string");
      tokens += estimateTokens(element);
      continue;
    }
    if (!Array.isArray(element)) return refuseType([key, index], element, "an array of token ids");
    if (element.length === 0) return refuseValue([key, index], "at least one token id");
    const refused = checkTokenIds(element, [key, index]);
    if (refused !== null) return refused;
    tokens += element.length;
  }
  const firstText = Array.isArray(first) ? JSON.stringify(first.slice(0, 256)) : first;
  return measured(list.length, tokens, typeof firstText === "string" ? firstText : "");
}

function measured(count: number, tokensEstimate: number, firstText: string) {
  return { ok: true as const, value: { count, tokensEstimate, firstText } };
}
