import * as z from "zod";
import type { PathSegment } from "./parameter-path.ts";
import { readPresent } from "./present-fields.ts";
import {
  refuseAt,
  refuseMissing,
  refuseTooMany,
  refuseType,
  refuseUnsupported,
  refuseValue,
} from "./refusals.ts";
import type { Refused } from "./refusals.ts";

/** The words for the types that a schema expects. */
const typeWords: Readonly<Record<string, string>> = {
  string: "a string",
  number: "a number",
  int: "an integer",
  boolean: "a boolean",
  array: "an array",
  tuple: "an array",
  object: "an object",
  record: "an object",
};

function describeType(expected: string): string {
  return typeWords[expected] ?? expected;
}

function valueAt(root: unknown, path: readonly PropertyKey[]): unknown {
  let value = root;
  for (const key of path) {
    if (typeof value !== "object" || value === null || !Object.hasOwn(value, key)) return undefined;
    value = (value as Record<PropertyKey, unknown>)[key];
  }
  return value;
}

function segments(path: readonly PropertyKey[]): PathSegment[] {
  return path.map((segment) => (typeof segment === "symbol" ? "" : segment));
}

/** Of a union's branches the one that got furthest is the one that the client meant. */
function deepestBranch(
  branches: readonly (readonly z.core.$ZodIssue[])[],
): z.core.$ZodIssue | undefined {
  return branches
    .flatMap((issues) => issues.slice(0, 1))
    .filter((issue) => issue.path.length > 0 || issue.code !== "invalid_type")
    .toSorted((left, right) => right.path.length - left.path.length)[0];
}

function unionTypes(branches: readonly (readonly z.core.$ZodIssue[])[]): string {
  const words = branches
    .flatMap((issues) => issues.slice(0, 1))
    .flatMap((issue) => (issue.code === "invalid_type" ? [describeType(issue.expected)] : []));
  return [...new Set(words)].join(" or ");
}

function describe(issue: z.core.$ZodIssue, base: readonly PathSegment[], got: unknown): Refused {
  const path = [...base, ...segments(issue.path)];
  switch (issue.code) {
    case "invalid_type":
      return refuseType(path, got, describeType(issue.expected));
    case "invalid_value": {
      if (got === undefined) return refuseMissing(path);
      return refuseValue(
        path,
        `one of ${issue.values.map((value) => `'${String(value)}'`).join(", ")}`,
      );
    }
    case "too_big": {
      const max = Number(issue.maximum);
      if (issue.origin === "string") return refuseTooMany(path, max, "characters");
      if (issue.origin === "array") return refuseTooMany(path, max, "elements");
      return refuseValue(path, `a number of at most ${max}`);
    }
    case "too_small": {
      const min = Number(issue.minimum);
      if (issue.origin === "string") return refuseValue(path, `at least ${min} character(s)`);
      if (issue.origin === "array") return refuseValue(path, `at least ${min} element(s)`);
      return refuseValue(path, `a number of at least ${min}`);
    }
    case "invalid_union": {
      if (got === undefined) return refuseMissing(path);
      const branch = deepestBranch(issue.errors);
      if (branch !== undefined) return describe(branch, path, valueAt(got, branch.path));
      return refuseType(path, got, unionTypes(issue.errors) || "one of the documented forms");
    }
    case "custom": {
      if (issue.params?.["isUnsupported"] === true) return refuseUnsupported(path, issue.message);
      return refuseValue(path, issue.message);
    }
    case "invalid_key":
      return refuseValue(path, issue.issues[0]?.message ?? "other keys");
    case "invalid_format":
    case "invalid_element":
    case "not_multiple_of":
    case "unrecognized_keys":
      return refuseValue(path, issue.message);
  }
}

/**
 * `value` read by `schema`, or the first complaint in OpenAI's words. `base` is where `value` stands in the body. The
 * message of a `custom` issue is what was expected; with `params.isUnsupported` it is what to do instead.
 */
export function readWith<Schema extends z.ZodType>(
  schema: Schema,
  value: unknown,
  base: readonly PathSegment[],
): { readonly ok: true; readonly value: z.output<Schema> } | Refused {
  const present = readPresent(schema, value);
  if (present !== null) return { ok: true, value: present };
  const parsed = schema.safeParse(value);
  if (parsed.success) return { ok: true, value: parsed.data };
  const issue = parsed.error.issues[0];
  if (issue === undefined) return refuseAt(base, "The request is not valid.");
  return describe(issue, base, valueAt(value, issue.path));
}
