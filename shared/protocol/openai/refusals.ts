import type { ErrorOutcome } from "../../errors/gateway-error.ts";
import { formatPath } from "./parameter-path.ts";
import type { PathSegment } from "./parameter-path.ts";

/** A refusal on its way out of a parser. */
export interface Refused {
  readonly ok: false;
  readonly error: ErrorOutcome;
}

/** What kind of value stands there, in the words of OpenAI's errors; never the value. */
export function typeName(value: unknown): string {
  if (value === undefined) return "nothing";
  if (value === null) return "null";
  if (Array.isArray(value)) return value.length === 0 ? "an empty array" : "an array";
  const type: string = typeof value;
  switch (type) {
    case "number":
      return Number.isInteger(value) ? "an integer" : "a decimal number";
    case "string":
      return value === "" ? "an empty string" : "a string";
    case "boolean":
      return "a boolean";
    default:
      return "an object";
  }
}

/** `invalid_request` at `path`, with a finished sentence. */
export function refuseAt(path: readonly PathSegment[], message: string): Refused {
  const param = formatPath(path);
  return {
    ok: false,
    error: { code: "invalid_request", message, ...(param === "" ? {} : { param }) },
  };
}

/** "Missing required parameter". */
export function refuseMissing(path: readonly PathSegment[]): Refused {
  return refuseAt(path, `Missing required parameter: '${formatPath(path)}'.`);
}

/** "Invalid type": what stands there is named by its type only. */
export function refuseType(path: readonly PathSegment[], got: unknown, wanted: string): Refused {
  if (got === undefined) return refuseMissing(path);
  return refuseAt(
    path,
    `Invalid type for '${formatPath(path)}': expected ${wanted}, but got ${typeName(got)} instead.`,
  );
}

/** "Invalid value": the type is right, the value is not. `wanted` says which values are. */
export function refuseValue(path: readonly PathSegment[], wanted: string): Refused {
  return refuseAt(path, `Invalid value for '${formatPath(path)}': expected ${wanted}.`);
}

/** "Unsupported": the field is one of OpenAI's that this gateway does not serve; `advice` says what to do. */
export function refuseUnsupported(path: readonly PathSegment[], advice: string): Refused {
  return refuseAt(path, `Unsupported parameter: '${formatPath(path)}'. ${advice}`);
}

/** "Too many" or "too long": more than `max` of `unit`. */
export function refuseTooMany(path: readonly PathSegment[], max: number, unit: string): Refused {
  return refuseAt(
    path,
    `Invalid length for '${formatPath(path)}': expected at most ${max} ${unit}.`,
  );
}
