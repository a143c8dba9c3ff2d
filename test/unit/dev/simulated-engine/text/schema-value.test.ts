import { describe, it } from "vitest";
import * as z from "zod";
import { jsonForSchema } from "#dev/simulated-engine/text/schema-value.ts";

const schemas = {
  flat: z.strictObject({
    name: z.string(),
    age: z.int().min(18).max(20),
    ratio: z.number().gt(0).lt(1),
    isGood: z.boolean(),
    unit: z.enum(["celsius", "fahrenheit"]),
    kind: z.literal("weather"),
  }),
  nested: z.strictObject({
    list: z
      .array(z.strictObject({ id: z.int().min(1), tags: z.array(z.string()).min(2).max(2) }))
      .min(3),
    maybe: z.string().nullable(),
    either: z.union([z.strictObject({ a: z.int() }), z.strictObject({ b: z.string() })]),
    code: z.string().min(30).max(40),
    short: z.string().max(3),
    when: z.iso.date(),
    pair: z.tuple([z.string(), z.number()]),
    step: z.number().multipleOf(0.25),
    optional: z.string().optional(),
  }),
};

describe("JSON for a schema", () => {
  for (const [name, schema] of Object.entries(schemas))
    it(`is valid for the ${name} schema with every hash`, ({ expect }) => {
      const json = z.toJSONSchema(schema);
      for (let hash = 1; hash <= 200; hash += 1) {
        const parsed = schema.safeParse(JSON.parse(jsonForSchema(json, hash)));
        expect(parsed.error?.issues, `hash ${hash}`).toBeUndefined();
      }
    });
  it("is the same for the same hash and differs between hashes", ({ expect }) => {
    const json = z.toJSONSchema(schemas.flat);
    expect(jsonForSchema(json, 7)).toBe(jsonForSchema(json, 7));
    const texts = Array.from({ length: 20 }, (_, hash) => jsonForSchema(json, hash));
    expect(new Set(texts).size).toBeGreaterThan(1);
  });
  it("follows references and ends in recursive ones", ({ expect }) => {
    const tree = {
      $ref: "#/$defs/node",
      $defs: {
        node: {
          type: "object",
          properties: {
            value: { type: "integer" },
            children: { type: "array", items: { $ref: "#/$defs/node" } },
          },
          required: ["value", "children"],
          additionalProperties: false,
        },
      },
    };
    type Node = { value: number; children: Node[] };
    const node: z.ZodType<Node> = z.strictObject({
      value: z.int(),
      children: z.lazy(() => z.array(node)),
    });
    for (let hash = 1; hash < 20; hash += 1)
      expect(node.safeParse(JSON.parse(jsonForSchema(tree, hash))).success).toBe(true);
  });
  it.for([
    undefined,
    null,
    true,
    7,
    {},
    { type: [] },
    { enum: [] },
    { $ref: "#/nowhere" },
    { type: "array", prefixItems: 3 },
  ])("is JSON for the odd schema %j", (schema, { expect }) => {
    expect(() => JSON.parse(jsonForSchema(schema, 1))).not.toThrow();
  });
});
