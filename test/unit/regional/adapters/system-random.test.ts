import { describe, expect, it } from "vitest";
import { systemRandom } from "#regional/adapters/system-random.ts";

describe("the machine's chance", () => {
  it("gives every call bytes of its own, beyond what is drawn at once", () => {
    const drawn = Array.from({ length: 2_000 }, () => systemRandom.hex(16));
    expect(new Set(drawn).size).toBe(2_000);
    for (const text of drawn) expect(text).toMatch(/^[0-9a-f]{32}$/);
    expect(systemRandom.hex(4_096)).toHaveLength(8_192);
  });

  it("refuses more bytes than it draws at once, rather than fewer of them", () => {
    expect(() => systemRandom.hex(4_097)).toThrow(RangeError);
  });
});
