import type * as z from "zod";

/** One complaint about a topology file: where, what stands there, what is wanted. */
export interface TopologyProblem {
  readonly path: string;
  readonly got: string;
  readonly wanted: string;
}

/** Longest value that a complaint repeats, characters. */
const shownCharactersMax = 80;
/** The fields where a credential may have been pasted in place of its digest or of the name of a variable. */
const secretFields = new Set(["keys", "apiKey", "key", "secret", "database"]);
/** What reads like a credential wherever it stands: an API key, 64 hex digits, a URL with a user or a password. */
const secretText = /^(?:mk_|sk-)|^[0-9a-f]{64}$|:\/\/[^/]*@/i;

/** A value as a complaint repeats it; of objects and lists only what they are, since a credential may stand in them. */
export function showValue(value: unknown): string {
  if (value === undefined) return "nothing";
  if (Array.isArray(value)) return `a list of ${value.length}`;
  if (typeof value === "object" && value !== null) return "an object";
  const text = JSON.stringify(value) ?? typeof value;
  return text.length > shownCharactersMax ? `${text.slice(0, shownCharactersMax - 3)}...` : text;
}

/** What kind of value stands where a credential might: never the value, nor a part of it. */
function describeSecret(value: unknown): string {
  if (typeof value !== "string")
    return typeof value === "number" || typeof value === "boolean"
      ? `a ${typeof value}`
      : showValue(value);
  if (value === "") return "an empty text";
  if (value.startsWith("mk_")) return "an API key itself";
  if (/^[0-9a-f]{64}$/i.test(value)) return "64 hex digits alone";
  if (/^[a-z][a-z0-9+.-]*:\/\//i.test(value)) return "a URL";
  return `a text of ${value.length} characters`;
}

function valueAt(root: unknown, path: readonly PropertyKey[]): unknown {
  let value = root;
  for (const key of path) {
    if (typeof value !== "object" || value === null || !Object.hasOwn(value, key)) return undefined;
    value = (value as Record<PropertyKey, unknown>)[key];
  }
  return value;
}

/** What stands at a path of the file, as far as it may be repeated. */
function describeAt(input: unknown, path: readonly PropertyKey[]): string {
  const value = valueAt(input, path);
  const isSecret =
    path.some((key) => secretFields.has(String(key))) ||
    (typeof value === "string" && secretText.test(value));
  return isSecret ? describeSecret(value) : showValue(value);
}

/** What zod found wrong with the file's shape, as complaints. */
export function shapeProblems(error: z.ZodError, input: unknown): TopologyProblem[] {
  return error.issues.flatMap((issue) => {
    const path = issue.path.map(String).join(".");
    if (issue.code === "unrecognized_keys") {
      return issue.keys.map((key) => ({
        path: path === "" ? key : `${path}.${key}`,
        got: "an unknown key",
        wanted: "only the keys named in docs/architecture.md",
      }));
    }
    return [{ path, got: describeAt(input, issue.path), wanted: issue.message }];
  });
}
