import { createHmac } from "node:crypto";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Jurisdiction, TenantId } from "#shared/residency/brands.ts";
import {
  asConversationId,
  asTurnId,
  base62,
  conversationRandomLength,
  equalInConstantTime,
  identifierMacInput,
  macLength,
  mintIdentifier,
  objectNameInput,
  openIdentifier,
  parseIdentifier,
  tenantTagInput,
  turnRandomLength,
} from "#shared/residency/identifiers.ts";
import type {
  IdentifierPort,
  IdentifierPrefix,
  IdentifierScope,
} from "#shared/residency/identifiers.ts";

function portOf(keyHex: string): IdentifierPort {
  const key = Buffer.from(keyHex, "hex");
  return {
    mac: async (text, length) => base62(createHmac("sha256", key).update(text).digest(), length),
    random: (length) => "r".repeat(length),
  };
}

const port = portOf("11".repeat(32));
const prefixes: readonly IdentifierPrefix[] = [
  "conv",
  "turn",
  "resp",
  "chatcmpl",
  "cmpl",
  "strm",
  "msg",
  "fc",
  "rs",
  "fco",
];

function scopeOf(tenant: string, jurisdiction: string): IdentifierScope {
  return { tenant: tenant as TenantId, jurisdiction: jurisdiction as Jurisdiction };
}

const acme = scopeOf("acme", "eu");
const letters = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const aLetter = fc.constantFrom(...Array.from(letters));
const aRandom = (length: number): fc.Arbitrary<string> =>
  fc.string({ unit: aLetter, minLength: length, maxLength: length });
const aName = fc.stringMatching(/^[a-z][a-z0-9-]{0,31}$/);
const anId = fc.record({
  scope: fc.tuple(aName, aName).map(([tenant, jurisdiction]) => scopeOf(tenant, jurisdiction)),
  prefix: fc.constantFrom(...prefixes),
  conversationRandom: aRandom(conversationRandomLength),
  turnRandom: fc.oneof(fc.constant(""), aRandom(turnRandomLength)),
});

function mint({
  scope,
  prefix,
  conversationRandom,
  turnRandom,
}: {
  scope: IdentifierScope;
  prefix: IdentifierPrefix;
  conversationRandom: string;
  turnRandom: string;
}): Promise<string> {
  return mintIdentifier(port, scope, prefix, conversationRandom, turnRandom);
}

describe("an identifier", () => {
  it("opens for its own tenant and jurisdiction, with the parts it was made of", async () => {
    await fc.assert(
      fc.asyncProperty(anId, async (made) => {
        const id = await mint(made);
        const parts = await openIdentifier(port, made.scope, id, [made.prefix]);
        const { prefix, conversationRandom, turnRandom } = made;
        expect(parts).toMatchObject({ prefix, conversationRandom, turnRandom });
        expect(parts?.jurisdiction).toBe(made.scope.jurisdiction);
      }),
    );
  });

  it("is refused after a change of any one of its characters", async () => {
    await fc.assert(
      fc.asyncProperty(
        anId,
        fc.nat(),
        fc.oneof(aLetter, fc.constantFrom("_", "-", " ", "\n", "\0", "é", "ﬀ", "\u{1f600}")),
        async (made, at, letter) => {
          const id = await mint(made);
          const index = at % id.length;
          fc.pre(id.charAt(index) !== letter);
          const changed = id.slice(0, index) + letter + id.slice(index + 1);
          expect(await openIdentifier(port, made.scope, changed, prefixes)).toBeNull();
        },
      ),
      { numRuns: 400 },
    );
  });

  it("is refused at every position for one and the same id", async () => {
    const id = await mintIdentifier(port, acme, "turn", "C".repeat(16), "T".repeat(12));
    for (let index = 0; index < id.length; index += 1) {
      const changed = `${id.slice(0, index)}${id.charAt(index) === "b" ? "d" : "b"}${id.slice(index + 1)}`;
      expect([index, await openIdentifier(port, acme, changed, prefixes)]).toEqual([index, null]);
    }
  });

  it("is refused when a character is missing or added anywhere", async () => {
    await fc.assert(
      fc.asyncProperty(anId, fc.nat(), aLetter, async (made, at, letter) => {
        const id = await mint(made);
        const index = at % (id.length + 1);
        const longer = id.slice(0, index) + letter + id.slice(index);
        expect(await openIdentifier(port, made.scope, longer, prefixes)).toBeNull();
        const shorter = id.slice(0, index) + id.slice(index + 1);
        if (shorter !== id)
          expect(await openIdentifier(port, made.scope, shorter, prefixes)).toBeNull();
      }),
    );
  });

  it("is refused for every other tenant, jurisdiction and key", async () => {
    await fc.assert(
      fc.asyncProperty(anId, aName, async (made, other) => {
        const { tenant, jurisdiction } = made.scope;
        const id = await mint(made);
        const wanted = [made.prefix];
        if (other !== tenant)
          expect(await openIdentifier(port, scopeOf(other, jurisdiction), id, wanted)).toBeNull();
        if (other !== jurisdiction)
          expect(await openIdentifier(port, scopeOf(tenant, other), id, wanted)).toBeNull();
        expect(await openIdentifier(portOf("12".repeat(32)), made.scope, id, wanted)).toBeNull();
      }),
    );
  });

  it("of one tenant, written with another jurisdiction or tag, is refused for both", async () => {
    const id = await mintIdentifier(port, acme, "conv", "C".repeat(16));
    const foreign = await mintIdentifier(port, scopeOf("globex", "us"), "conv", "C".repeat(16));
    const mixed = [
      id.replace("_eu_", "_us_"),
      id.replace(id.split("_")[2] ?? "", foreign.split("_")[2] ?? ""),
      id.replace(id.split("_")[4] ?? "", foreign.split("_")[4] ?? ""),
    ];
    for (const text of mixed) {
      expect(text).not.toBe(id);
      for (const scope of [acme, scopeOf("globex", "us"), scopeOf("acme", "us")])
        expect(await openIdentifier(port, scope, text, prefixes)).toBeNull();
    }
  });

  it("does not stand for another prefix, nor a turn for its conversation", async () => {
    const turn = await mintIdentifier(port, acme, "turn", "C".repeat(16), "T".repeat(12));
    expect(await openIdentifier(port, acme, turn, ["resp"])).toBeNull();
    expect(await openIdentifier(port, acme, turn, [])).toBeNull();
    expect(await openIdentifier(port, acme, turn.replace("turn_", "resp_"), ["resp"])).toBeNull();
    expect(await openIdentifier(port, acme, turn.replace("T".repeat(12), ""), prefixes)).toBeNull();
  });

  it("names its tenant by a tag only, another one in each jurisdiction", async () => {
    const eu = await mintIdentifier(port, scopeOf("acme", "eu"), "conv", "C".repeat(16));
    const us = await mintIdentifier(port, scopeOf("acme", "us"), "conv", "C".repeat(16));
    expect(eu).not.toContain("acme");
    expect(eu.split("_")[2]).not.toBe(us.split("_")[2]);
  });
});

describe("parseIdentifier", () => {
  const mac = "m".repeat(macLength);
  it.each([
    ["", "empty"],
    [`conv_eu_${"t".repeat(8)}_${"c".repeat(16)}_${mac}\n`, "a line break at the end"],
    [`conv_eu_${"t".repeat(8)}_${"c".repeat(17)}_${mac}`, "random of 17"],
    [`conv_EU_${"t".repeat(8)}_${"c".repeat(16)}_${mac}`, "capitals in the jurisdiction"],
    [`user_eu_${"t".repeat(8)}_${"c".repeat(16)}_${mac}`, "an unknown prefix"],
    [`conv_${"e".repeat(33)}_${"t".repeat(8)}_${"c".repeat(16)}_${mac}`, "a long jurisdiction"],
    [`conv_eu_${"t".repeat(8)}_${"c".repeat(16)}_${mac.slice(1)}`, "a short MAC"],
    [`conv_eu_${"t".repeat(8)}_${"ｃ".repeat(16)}_${mac}`, "full-width letters"],
    ["conv_".repeat(200_000), "a million characters"],
  ])("refuses %j", (id) => {
    expect(parseIdentifier(id)).toBeNull();
  });

  it("never throws and takes no text that it would not write", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary", maxLength: 200 }), (text) => {
        expect(parseIdentifier(text)).toBeNull();
      }),
    );
  });
});

describe("what is under a MAC", () => {
  it("differs for every kind of use and every part", () => {
    const { tenant, jurisdiction } = acme;
    const parts = { prefix: "conv", jurisdiction: "eu", turnRandom: "" } as const;
    const texts = [
      tenantTagInput(tenant, jurisdiction),
      tenantTagInput("eu" as TenantId, "acme" as Jurisdiction),
      objectNameInput(tenant, jurisdiction, "C".repeat(16)),
      objectNameInput(tenant, "us" as Jurisdiction, "C".repeat(16)),
      identifierMacInput({ ...parts, conversationRandom: "C".repeat(16) }, tenant),
      identifierMacInput(
        { ...parts, jurisdiction: "us", conversationRandom: "C".repeat(16) },
        tenant,
      ),
      identifierMacInput({ ...parts, prefix: "turn", conversationRandom: "C".repeat(16) }, tenant),
      identifierMacInput({ ...parts, conversationRandom: "C".repeat(16) }, "a" as TenantId),
    ];
    expect(new Set(texts).size).toBe(texts.length);
  });
});

describe("base62", () => {
  it("gives each of 62 letters for 4 of 256 bytes, the first 8 for 5", () => {
    const counts = new Map<string, number>();
    for (let byte = 0; byte < 256; byte += 1) {
      const letter = base62(new Uint8Array([byte]), 1);
      counts.set(letter, (counts.get(letter) ?? 0) + 1);
    }
    expect([...counts.keys()].toSorted().join("")).toBe(letters);
    expect([...counts.values()].filter((count) => count === 5)).toHaveLength(8);
    expect([...counts.values()].filter((count) => count === 4)).toHaveLength(54);
  });

  it("refuses to pad: fewer bytes than letters would be a guessable MAC", () => {
    expect(base62(new Uint8Array(32), 32)).toBe("0".repeat(32));
    expect(base62(new Uint8Array(0), 0)).toBe("");
    expect(() => base62(new Uint8Array(32), 33)).toThrow("a byte per letter");
  });
});

describe("equalInConstantTime", () => {
  it("says what === says", () => {
    fc.assert(
      fc.property(fc.string({ maxLength: 40 }), fc.string({ maxLength: 40 }), (left, right) => {
        expect(equalInConstantTime(left, right)).toBe(left === right);
        expect(equalInConstantTime(left, left)).toBe(true);
      }),
    );
  });

  it("tells letters apart that differ above the low byte only", () => {
    expect(equalInConstantTime("a", "š")).toBe(false);
    expect(equalInConstantTime("a", "\u0161")).toBe(false);
    expect(equalInConstantTime("\u0061", "\uff61")).toBe(false);
  });
});

it("brands an id as it is", () => {
  expect([asConversationId("conv"), asTurnId("turn")]).toEqual(["conv", "turn"]);
});
