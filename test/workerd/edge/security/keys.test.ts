import { describe, expect, it } from "vitest";
import { createKeyVerifier } from "#edge/adapters/key-verifier.ts";
import { sha256Hex } from "#edge/adapters/web-crypto.ts";
import type { Topology } from "#shared/config/topology.ts";
import { topologyWith } from "./topology-with.ts";

const secret = "0123456789abcdefghij";
const acme = `mk_eu_acme_${secret}`;
const acmeNext = `mk_eu_acme_next-${secret}`;
const globex = `mk_us_globex_${secret}`;
const admin = `mk_admin_${secret}`;

const digest = (text: string): Promise<string> => sha256Hex(new TextEncoder().encode(text));

async function verifierOf(
  keys: { acme?: readonly string[]; globex?: readonly string[]; admin?: readonly string[] } = {},
  digests: Readonly<Record<string, string>> = {},
) {
  const topology: Topology = topologyWith({
    acme: keys.acme ?? [`sha256:${await digest(acme)}`],
    globex: keys.globex ?? [`sha256:${await digest(globex)}`],
    admin: keys.admin ?? [`sha256:${await digest(admin)}`],
  });
  const asked: string[] = [];
  const verify = createKeyVerifier({
    topology,
    digestOf: (entry) => {
      asked.push(entry);
      if (entry.startsWith("sha256:")) return entry.slice(7);
      return digests[entry.slice(4)] ?? null;
    },
  });
  return { verify, asked };
}

const refused = { kind: "refused" };

describe("an API key", () => {
  it("proves its tenant", async () => {
    const { verify } = await verifierOf();
    expect(await verify(acme)).toMatchObject({ kind: "tenant", tenant: { id: "acme" } });
    expect(await verify(globex)).toMatchObject({ tenant: { id: "globex", jurisdiction: "us" } });
    expect(await verify(admin)).toEqual({ kind: "admin" });
  });

  it.each([
    ["another secret", `mk_eu_acme_${secret}x`],
    ["a secret in capitals", `mk_eu_acme_${secret.toUpperCase()}`],
    ["an unknown tenant", `mk_eu_initech_${secret}`],
    ["a name that every object has", `mk_eu_constructor_${secret}`],
    ["another jurisdiction", `mk_us_acme_${secret}`],
    ["an unknown jurisdiction", `mk_ch_acme_${secret}`],
    ["the digest for the key", "ab".repeat(32)],
    ["a blank after it", `${acme} `],
    ["nothing", ""],
    ["a key of the wrong kind", `mk_admin_acme_${secret}`],
    ["letters outside ASCII", `mk_eu_acme_${secret}ñ`],
    ["a million characters", `mk_eu_acme_${"x".repeat(1_000_000)}`],
  ])("is refused with %s", async (_name, presented) => {
    const { verify } = await verifierOf();
    expect(await verify(presented)).toEqual(refused);
  });

  it("is refused where its digest stands under a tenant of another jurisdiction", async () => {
    // A mistake in the topology: globex (us) was given the digest of a key that says eu.
    const wrong = `mk_eu_globex_${secret}`;
    const { verify } = await verifierOf({ globex: [`sha256:${await digest(wrong)}`] });
    expect(await verify(wrong)).toEqual(refused);
  });

  it("is refused where its digest stands under another tenant", async () => {
    const { verify } = await verifierOf({ globex: [`sha256:${await digest(acme)}`], acme: [] });
    expect(await verify(acme)).toEqual(refused);
  });

  it("does not make a tenant an administrator, nor the other way round", async () => {
    const digests = [`sha256:${await digest(acme)}`, `sha256:${await digest(admin)}`];
    const { verify } = await verifierOf({ acme: [], admin: digests });
    expect(await verify(acme)).toEqual(refused);
    expect(await verify(admin)).toEqual({ kind: "admin" });
  });

  it("costs the same two comparisons whoever asks", async () => {
    const { verify, asked } = await verifierOf({
      acme: [`sha256:${await digest(acme)}`, "env:UNSET"],
    });
    await verify(acme);
    expect(asked).toHaveLength(2);
  });
});

describe("a rotation", () => {
  it("has the old and the new key valid at every step", async () => {
    const [old, next] = [await digest(acme), await digest(acmeNext)];
    const steps: readonly (readonly [readonly string[], boolean, boolean])[] = [
      [[`sha256:${old}`], true, false],
      [[`sha256:${old}`, `sha256:${next}`], true, true],
      [[`sha256:${next}`, `sha256:${old}`], true, true],
      [[`sha256:${next}`], false, true],
      [[], false, false],
    ];
    for (const [keys, isOldValid, isNextValid] of steps) {
      const { verify } = await verifierOf({ acme: keys });
      const kinds = [(await verify(acme)).kind, (await verify(acmeNext)).kind];
      expect(kinds).toEqual([isOldValid, isNextValid].map((ok) => (ok ? "tenant" : "refused")));
    }
  });

  it("works with digests in variables, and an unset one matches nothing", async () => {
    const keys = { acme: ["env:ACME", "env:ACME_NEXT"] };
    const one = await verifierOf(keys, { ACME: await digest(acme) });
    expect((await one.verify(acme)).kind).toBe("tenant");
    expect(await one.verify(acmeNext)).toEqual(refused);
    const none = await verifierOf(keys);
    expect(await none.verify(acme)).toEqual(refused);
  });
});
