import fc from "fast-check";
import * as z from "zod";
import { describe, expect, it } from "vitest";
import { readPresent } from "#shared/protocol/openai/present-fields.ts";

const part = z.looseObject({ type: z.literal("text"), text: z.string() });
const request = z.looseObject({
  model: z.string().min(1),
  stream: z.boolean().nullish(),
  n: z.number().int().min(1).nullish(),
  stop: z.union([z.string(), z.array(z.string()).max(2)]).nullish(),
  options: z.looseObject({ usage: z.boolean().nullish() }).nullish(),
});
const message = z.discriminatedUnion("role", [
  z.looseObject({ role: z.literal("user"), content: z.union([z.string(), z.array(part)]) }),
  z.looseObject({ role: z.literal("tool"), content: z.string(), id: z.string() }),
]);

const names = fc.constantFrom(
  ...["model", "stream", "n", "stop", "options", "role", "content", "id", "text", "other"],
);
const leaf = fc.oneof(
  fc.constantFrom(null, true, false, 0, 1, 2.5, "", "user", "tool", "text", "x"),
  fc.constant([]),
);
const value = fc.oneof(leaf, fc.array(leaf, { maxLength: 3 }), fc.dictionary(names, leaf));
const whole = fc.constantFrom<object>(
  { model: "x" },
  { model: "x", stream: true, n: 1, stop: ["x"], options: { usage: null } },
  { role: "user", content: "x" },
  { role: "user", content: [{ type: "text", text: "x" }] },
  { role: "tool", content: "x", id: "y" },
);
/** A body that is whole, with a few fields of whatever kind in it. */
const body = fc
  .tuple(whole, fc.dictionary(names, value, { maxKeys: 3 }))
  .map(([fields, others]) => ({ ...fields, ...others }));

describe("readPresent", () => {
  it("reads what the schema reads, and nothing that the schema refuses", () => {
    let read = 0;
    fc.assert(
      fc.property(fc.constantFrom(request, message), body, (schema, given) => {
        const parsed = schema.safeParse(given);
        const present = readPresent(schema, given);
        if (parsed.success) read += 1;
        expect(present).toEqual(parsed.success ? parsed.data : null);
      }),
      { numRuns: 3_000 },
    );
    expect(read).toBeGreaterThan(300);
  });

  it("leaves to the schema what has rules over several fields, forbids or fills in fields", () => {
    const given = { a: "x" };
    const ruled = z.looseObject({ a: z.string() }).refine(() => false);
    expect(readPresent(ruled, given)).toBeNull();
    expect(readPresent(z.strictObject({ a: z.string() }), given)).toBeNull();
    expect(readPresent(z.object({ a: z.string() }), given)).toBeNull();
    const filling = z.looseObject({ a: z.string(), b: z.string().default("y") });
    expect(readPresent(filling, given)).toBeNull();
    const unlike = z.discriminatedUnion("a", [z.strictObject({ a: z.literal("x") })]);
    expect(readPresent(unlike, given)).toBeNull();
    expect(readPresent(z.looseObject({}), JSON.parse('{"__proto__":{}}'))).toBeNull();
  });

  it("reads no array, text or null as an object", () => {
    for (const given of [null, [], "text", 1]) {
      expect(readPresent(z.looseObject({}), given)).toBeNull();
    }
  });
});
