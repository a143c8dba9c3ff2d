import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  bytesField,
  bytesOf,
  doubleField,
  numberField,
  numberOf,
  readFields,
} from "#regional/backends/platforms/protobuf.ts";

describe("messages of Protocol Buffers", () => {
  it("are the bytes that Modal's own SDK sends", () => {
    // modal 0.11.1 of npm: a floor of 4, a ceiling of 300, no spare ones and 64 requests at once for "fu-1".
    const settings = Buffer.concat([
      numberField(1, 4),
      numberField(2, 300),
      numberField(3, 0),
      doubleField(9, 64),
    ]);
    const request = Buffer.concat([bytesField(1, "fu-1"), bytesField(3, settings)]);
    expect(request.toString("hex")).toBe("0a0466752d311a10080410ac021800490000000000005040");
  });

  it("come back as they were written", () => {
    fc.assert(
      fc.property(
        fc.array(
          fc.record({
            field: fc.integer({ min: 1, max: 536_870_911 }),
            value: fc.oneof(fc.nat({ max: 4_294_967_295 }), fc.uint8Array({ maxLength: 300 })),
          }),
        ),
        (fields) => {
          const message = Buffer.concat(
            fields.map(({ field, value }) =>
              typeof value === "number" ? numberField(field, value) : bytesField(field, value),
            ),
          );
          const read = readFields(message)?.map(({ field, value }) => ({
            field,
            value: typeof value === "number" ? value : [...value],
          }));
          expect(read).toStrictEqual(
            fields.map(({ field, value }) => ({
              field,
              value: typeof value === "number" ? value : [...value],
            })),
          );
        },
      ),
    );
  });

  it("may have fields that are no concern of ours", () => {
    // 1: double, 2: fixed32, 3: varint 7.
    const message = Buffer.from("09000000000000f03f15010000001807", "hex");
    expect(readFields(message)).toStrictEqual([{ field: 3, value: 7 }]);
  });

  it("that say a thing twice mean the last, and one that says nothing means nothing", () => {
    const fields = readFields(
      Buffer.concat([numberField(1, 2), numberField(1, 9), bytesField(2, "a"), bytesField(2, "b")]),
    );
    expect(numberOf(fields ?? [], 1)).toBe(9);
    expect(Buffer.from(bytesOf(fields ?? [], 2) ?? []).toString()).toBe("b");
    expect(numberOf(fields ?? [], 2)).toBeNull();
    expect(bytesOf(fields ?? [], 1)).toBeNull();
    expect(readFields(new Uint8Array())).toStrictEqual([]);
  });

  it.each([
    ["a number without an end", "08ff"],
    ["a number of more than ten bytes", `08${"ff".repeat(11)}00`],
    ["a length beyond the message", "0a05616263"],
    ["a length without a number", "0a"],
    ["a group", "0b0c"],
    ["field 0", "0001"],
    ["half of eight bytes", "0900000000"],
  ])("are refused with %s", (_, hex) => {
    expect(readFields(Buffer.from(hex, "hex"))).toBeNull();
  });

  it("of any bytes are read or refused, never thrown about", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => {
        const fields = readFields(bytes);
        expect(fields === null || Array.isArray(fields)).toBe(true);
      }),
    );
  });
});
