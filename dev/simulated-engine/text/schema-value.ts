/** Deterministic JSON that is valid for a JSON schema: the subset that structured output and tools use. */
import { bitsAt } from "./hash.ts";

/** Nesting that is followed; deeper or endless recursion ends in the shortest value there is. */
const depthMax = 12;
const arrayItemsMax = 64;
/** Values in one answer; recursive schemas that branch would grow without it. */
const valuesMax = 5_000;

type Schema = Readonly<Record<string, unknown>>;

function isRecord(value: unknown): value is Schema {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
function asNumber(value: unknown): number | undefined {
  return typeof value === "number" && Number.isFinite(value) ? value : undefined;
}

interface Cursor {
  readonly root: unknown;
  readonly hash: number;
  position: number;
  values: number;
}

function draw(cursor: Cursor): number {
  cursor.position += 1;
  return bitsAt(cursor.hash, cursor.position);
}

function resolveReference(root: unknown, reference: string): unknown {
  let at: unknown = root;
  for (const part of reference.replace(/^#\/?/u, "").split("/")) {
    if (part === "") continue;
    const key = part.replaceAll("~1", "/").replaceAll("~0", "~");
    at = isRecord(at) ? at[key] : Array.isArray(at) ? at[Number(key)] : undefined;
  }
  return at;
}

function stringValue(schema: Schema, cursor: Cursor): string {
  const bits = draw(cursor);
  const formats: Readonly<Record<string, string>> = {
    date: "2026-01-02",
    time: "03:04:05Z",
    "date-time": "2026-01-02T03:04:05Z",
    email: "simulated@example.com",
    uri: "https://example.com/simulated",
    uuid: `00000000-0000-4000-8000-0000${bits.toString(16).padStart(8, "0")}`,
    ipv4: "192.0.2.1",
    hostname: "simulated.example.com",
    duration: "P1D",
  };
  const format = typeof schema["format"] === "string" ? formats[schema["format"]] : undefined;
  if (format !== undefined) return format;
  const min = asNumber(schema["minLength"]) ?? 0;
  const max = asNumber(schema["maxLength"]) ?? Infinity;
  const text = `simulated ${(bits % 10_000).toString()} 東京`;
  const characters = Array.from(text.padEnd(min, "x"));
  return characters.slice(0, Math.min(characters.length, Math.max(max, 0))).join("");
}

function numberValue(schema: Schema, cursor: Cursor, isInteger: boolean): number {
  const bits = draw(cursor);
  const exclusiveMin = asNumber(schema["exclusiveMinimum"]);
  const exclusiveMax = asNumber(schema["exclusiveMaximum"]);
  const unit = asNumber(schema["multipleOf"]) ?? (isInteger ? 1 : 0.5);
  const low = exclusiveMin ?? asNumber(schema["minimum"]);
  const high = exclusiveMax ?? asNumber(schema["maximum"]);
  let first = low === undefined ? undefined : Math.ceil(low / unit);
  let last = high === undefined ? undefined : Math.floor(high / unit);
  if (exclusiveMin !== undefined && first !== undefined && first * unit <= exclusiveMin) first += 1;
  if (exclusiveMax !== undefined && last !== undefined && last * unit >= exclusiveMax) last -= 1;
  first ??= last === undefined ? 0 : last - 100;
  last ??= first + 100;
  if (last < first)
    return isInteger || low === undefined || high === undefined ? first * unit : (low + high) / 2;
  return (first + (bits % (Math.min(last - first, 1_000_000) + 1))) * unit;
}

function objectValue(schema: Schema, cursor: Cursor, depth: number): Record<string, unknown> {
  const properties = isRecord(schema["properties"]) ? schema["properties"] : {};
  const required = Array.isArray(schema["required"])
    ? schema["required"].filter((name) => typeof name === "string")
    : [];
  const entries: [string, unknown][] = [];
  for (const [name, property] of Object.entries(properties)) {
    // Beyond half the depth only what must be there, so that recursive schemas end.
    if (!required.includes(name) && depth > depthMax / 2) continue;
    entries.push([name, valueFor(property, cursor, depth + 1)]);
  }
  for (const name of required) {
    if (Object.hasOwn(properties, name)) continue;
    const additional = schema["additionalProperties"];
    entries.push([name, valueFor(isRecord(additional) ? additional : {}, cursor, depth + 1)]);
  }
  return Object.fromEntries(entries);
}

function arrayValue(schema: Schema, cursor: Cursor, depth: number): unknown[] {
  const tuple = Array.isArray(schema["prefixItems"]) ? schema["prefixItems"] : [];
  const min = asNumber(schema["minItems"]) ?? 0;
  const max = Math.min(asNumber(schema["maxItems"]) ?? arrayItemsMax, arrayItemsMax);
  const wanted = depth > depthMax / 2 ? min : min + 1 + (draw(cursor) % 2);
  const count = Math.max(
    Math.min(Math.max(wanted, tuple.length), max),
    Math.min(min, arrayItemsMax),
  );
  const values: unknown[] = [];
  for (let index = 0; index < count; index += 1) {
    const value = valueFor(
      tuple[index] ?? schema["items"] ?? { type: "string" },
      cursor,
      depth + 1,
    );
    const isRepeated = values.some((other) => JSON.stringify(other) === JSON.stringify(value));
    if (schema["uniqueItems"] === true && isRepeated && values.length >= min) continue;
    values.push(value);
  }
  return values;
}

function typeOf(schema: Schema, cursor: Cursor): string {
  const type = schema["type"];
  if (typeof type === "string") return type;
  if (Array.isArray(type)) {
    const useful = type.filter((one) => one !== "null");
    const chosen: unknown = useful.length === 0 ? "null" : useful[draw(cursor) % useful.length];
    return typeof chosen === "string" ? chosen : "string";
  }
  if (isRecord(schema["properties"]) || Array.isArray(schema["required"])) return "object";
  if (schema["items"] !== undefined || schema["prefixItems"] !== undefined) return "array";
  if (schema["minimum"] !== undefined || schema["maximum"] !== undefined) return "number";
  return "string";
}

function valueFor(schema: unknown, cursor: Cursor, depth: number): unknown {
  cursor.values += 1;
  if (!isRecord(schema) || depth > depthMax || cursor.values > valuesMax)
    return schema === false ? null : "simulated";
  const reference = schema["$ref"];
  if (typeof reference === "string")
    return valueFor(resolveReference(cursor.root, reference), cursor, depth + 1);
  if ("const" in schema) return schema["const"];
  const choices = schema["enum"];
  if (Array.isArray(choices) && choices.length > 0) return choices[draw(cursor) % choices.length];
  const alternatives = schema["anyOf"] ?? schema["oneOf"];
  if (Array.isArray(alternatives) && alternatives.length > 0) {
    // Deep down the last one, which by habit is null or a leaf, so that recursive schemas end.
    const at = depth > depthMax / 2 ? alternatives.length - 1 : draw(cursor) % alternatives.length;
    return valueFor(mergeAll([schema, alternatives[at]], ["anyOf", "oneOf"]), cursor, depth + 1);
  }
  if (Array.isArray(schema["allOf"]))
    return valueFor(mergeAll([schema, ...schema["allOf"]], ["allOf"]), cursor, depth + 1);
  switch (typeOf(schema, cursor)) {
    case "object":
      return objectValue(schema, cursor, depth);
    case "array":
      return arrayValue(schema, cursor, depth);
    case "integer":
      return numberValue(schema, cursor, true);
    case "number":
      return numberValue(schema, cursor, false);
    case "boolean":
      return draw(cursor) % 2 === 0;
    case "null":
      return null;
    default:
      return stringValue(schema, cursor);
  }
}

function mergeAll(schemas: readonly unknown[], without: readonly string[]): Schema {
  const merged: Record<string, unknown> = {};
  const required: unknown[] = [];
  let properties: Schema = {};
  for (const schema of schemas) {
    if (!isRecord(schema)) continue;
    for (const [key, value] of Object.entries(schema))
      if (!without.includes(key)) merged[key] = value;
    if (Array.isArray(schema["required"])) required.push(...schema["required"]);
    if (isRecord(schema["properties"])) properties = { ...properties, ...schema["properties"] };
  }
  if (required.length > 0) merged["required"] = required;
  if (Object.keys(properties).length > 0) merged["properties"] = properties;
  return merged;
}

/** Compact JSON text of a value that is valid for `schema`, the same for the same schema and hash. Patterns are not followed. */
export function jsonForSchema(schema: unknown, hash: number): string {
  const cursor = { root: schema, hash, position: 0, values: 0 };
  return JSON.stringify(valueFor(schema, cursor, 0)) ?? "null";
}
