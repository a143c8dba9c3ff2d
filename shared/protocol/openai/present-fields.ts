import * as z from "zod";

/** A loose object's fields by name, and those that must be there. */
interface Plan {
  readonly fields: ReadonlyMap<string, z.core.$ZodType>;
  readonly required: readonly string[];
}

/** How a schema is read by the fields that are present; null: only the schema itself can read it. */
type Reading =
  | { readonly kind: "object"; readonly plan: Plan }
  | { readonly kind: "union"; readonly key: string; readonly plans: ReadonlyMap<unknown, Plan> }
  | null;

const readings = new WeakMap<z.ZodType, Reading>();

/** A plan for an object that keeps unknown fields, has no rule over several of them, and fills none in. */
function planOf(schema: z.core.$ZodType): Plan | null {
  if (!(schema instanceof z.ZodObject)) return null;
  const { catchall, checks, shape } = schema.def;
  if (!(catchall instanceof z.ZodUnknown) || (checks ?? []).length > 0) return null;
  const fields = new Map<string, z.core.$ZodType>(Object.entries(shape));
  const required: string[] = [];
  for (const [name, field] of fields) {
    const absent = z.safeParse(field, undefined);
    if (!absent.success) required.push(name);
    else if (absent.data !== undefined) return null;
  }
  return { fields, required };
}

function makeReading(schema: z.ZodType): Reading {
  if (!(schema instanceof z.ZodDiscriminatedUnion)) {
    const plan = planOf(schema);
    return plan === null ? null : { kind: "object", plan };
  }
  const key = schema.def.discriminator;
  const plans = new Map<unknown, Plan>();
  for (const option of schema.def.options) {
    const plan = planOf(option);
    const tag = plan?.fields.get(key);
    if (plan === null || !(tag instanceof z.ZodLiteral)) return null;
    for (const value of tag.values) plans.set(value, plan);
  }
  return { kind: "union", key, plans };
}

function readPlanned(
  { fields, required }: Plan,
  value: Readonly<Record<string, unknown>>,
): object | null {
  for (const name of required) if (!Object.hasOwn(value, name)) return null;
  const read: Record<string, unknown> = {};
  for (const [name, given] of Object.entries(value)) {
    // An assignment to it would set the prototype.
    if (name === "__proto__") return null;
    const field = fields.get(name);
    if (field === undefined) {
      read[name] = given;
      continue;
    }
    const parsed = z.safeParse(field, given);
    if (!parsed.success) return null;
    read[name] = parsed.data;
  }
  return read;
}

/**
 * What `schema` makes of `value`, found by the fields that `value` has; null when that is not known, or when `value` is
 * refused: then the schema itself says so, in its own order. A Worker may not compile code, so zod there looks at each of
 * the 40 fields that a request may have; a usual request has three.
 */
export function readPresent<Schema extends z.ZodType>(
  schema: Schema,
  value: unknown,
): z.output<Schema> | null {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return null;
  let reading = readings.get(schema);
  if (reading === undefined) {
    reading = makeReading(schema);
    readings.set(schema, reading);
  }
  if (reading === null) return null;
  const fields = value as Readonly<Record<string, unknown>>;
  if (reading.kind === "object")
    return readPlanned(reading.plan, fields) as z.output<Schema> | null;
  const plan = reading.plans.get(fields[reading.key]);
  return plan === undefined ? null : (readPlanned(plan, fields) as z.output<Schema> | null);
}
