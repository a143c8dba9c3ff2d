import { createHmac, randomBytes } from "node:crypto";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { createHmacSha256 } from "#regional/adapters/hmac-sha256.ts";

describe("HMAC-SHA-256", () => {
  it("is that of OpenSSL, for texts of any length in any order", () => {
    const key = randomBytes(32);
    const hmac = createHmacSha256(key);
    const text = fc.oneof(
      fc.string({ unit: "binary" }),
      fc.nat({ max: 5_000 }).map((length) => "a".repeat(length)),
    );
    fc.assert(
      fc.property(text, (said) => {
        expect(hmac(said)).toBe(createHmac("sha256", key).update(said, "utf8").digest("hex"));
      }),
    );
  });

  it("is that of the standard (the text of RFC 4231's second case, under a key of 32 bytes)", () => {
    const key = Buffer.concat([Buffer.from("Jefe"), Buffer.alloc(28)]);
    expect(createHmacSha256(key)("what do ya want for nothing?")).toBe(
      "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
    );
  });

  it("takes no key of another length", () => {
    expect(() => createHmacSha256(randomBytes(31))).toThrow(RangeError);
  });
});
