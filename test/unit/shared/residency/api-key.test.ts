import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { apiKeyCharactersMax, parseApiKey } from "#shared/residency/api-key.ts";

const secret = "0123456789abcdefghij";

describe("parseApiKey", () => {
  it("reads jurisdiction and tenant, whatever the secret holds", () => {
    fc.assert(
      fc.property(
        fc.stringMatching(/^[a-z][a-z0-9-]{0,31}$/).filter((name) => name !== "admin"),
        fc.stringMatching(/^[a-z][a-z0-9-]{0,31}$/),
        fc.stringMatching(/^[0-9A-Za-z_-]{20,80}$/),
        (jurisdiction, tenant, anySecret) => {
          const parts = parseApiKey(`mk_${jurisdiction}_${tenant}_${anySecret}`);
          expect(parts).toEqual({ kind: "tenant", jurisdiction, tenant });
        },
      ),
    );
  });

  it("reads an administrator's key, underscores in its secret included", () => {
    expect(parseApiKey(`mk_admin_${secret}`)).toEqual({ kind: "admin" });
    expect(parseApiKey(`mk_admin_acme_${secret}`)).toEqual({ kind: "admin" });
    expect(parseApiKey("mk_admin_short")).toBeNull();
  });

  it("takes 256 characters and not one more, a secret of 20 and not of 19", () => {
    const start = "mk_eu_acme_";
    expect(parseApiKey(start + "x".repeat(apiKeyCharactersMax - start.length))).not.toBeNull();
    expect(parseApiKey(start + "x".repeat(apiKeyCharactersMax - start.length + 1))).toBeNull();
    expect(parseApiKey(start + "x".repeat(20))).not.toBeNull();
    expect(parseApiKey(start + "x".repeat(19))).toBeNull();
  });

  it.each([
    "",
    "mk_",
    "mk_admin_",
    `MK_eu_acme_${secret}`,
    `mk_EU_acme_${secret}`,
    `mk_eu_Acme_${secret}`,
    `mk__acme_${secret}`,
    `mk_eu__${secret}`,
    `mk_-eu_acme_${secret}`,
    `mk_eu_acme_${secret}\n`,
    ` mk_eu_acme_${secret}`,
    `mk_eu_acme_${secret}é`,
    `mk_eu_acme_${secret}\u{1f511}`,
    `mk_еu_acme_${secret}`,
    `mk_eu_acme_${secret} `,
    `mk_eu_acme_${secret}\0`,
    `mk_eu_${"a".repeat(33)}_${secret}`,
    `sk-${secret}`,
    "mk_".repeat(100_000),
  ])("refuses %j", (text) => {
    expect(parseApiKey(text)).toBeNull();
  });

  it("never throws", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), (text) => {
        expect(parseApiKey(text)).toBeNull();
        expect(parseApiKey(`mk_admin_${text}é`)).toBeNull();
      }),
    );
  });
});
