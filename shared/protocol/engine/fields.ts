import type { JsonValue } from "../json.ts";

/** A parsed JSON object whose fields are not yet trusted. */
export type Fields = Readonly<Record<string, JsonValue | undefined>>;

export function isFields(value: unknown): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Whether `value` is a whole number, 0 or more, that arithmetic keeps exact. */
export function isCount(value: unknown): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0;
}

export function isAbsent(value: unknown): value is undefined | null {
  return value === undefined || value === null;
}

/** A text field: undefined when absent, null or empty, `false` when it is no text. */
export function textOf(value: unknown): string | undefined | false {
  if (isAbsent(value) || value === "") return undefined;
  return typeof value === "string" ? value : false;
}

/** A list of token ids: undefined when absent, null or empty, `false` when it is none. */
export function tokenIdsOf(value: unknown): readonly number[] | undefined | false {
  if (isAbsent(value)) return undefined;
  if (!Array.isArray(value)) return false;
  if (value.length === 0) return undefined;
  return value.every(isCount) ? value : false;
}

/** Whether no path through `value` is longer than `depthMax`: `JSON.stringify` recurses, `JSON.parse` does not. */
export function isShallow(value: JsonValue | undefined, depthMax: number): boolean {
  if (typeof value !== "object" || value === null) return true;
  if (depthMax === 0) return false;
  for (const inner of Object.values(value)) if (!isShallow(inner, depthMax - 1)) return false;
  return true;
}
