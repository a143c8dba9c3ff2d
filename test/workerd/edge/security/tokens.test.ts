import { exportJWK, generateKeyPair, SignJWT } from "jose";
import type { JWK, JWTPayload } from "jose";
import { beforeAll, describe, expect, it } from "vitest";
import {
  keySetBytesMax,
  keySetCooldownMs,
  keySetKeptMs,
  keySetStaleMsMax,
  keySetTimeoutMs,
} from "#edge/adapters/key-set-cache.ts";
import { createTokenVerifier, tokenCharactersMax } from "#edge/adapters/token-verifier.ts";
import { topologyWith } from "./topology-with.ts";

const issuer = "https://login.example.com/";
const topology = topologyWith({
  identityProviders: {
    login: {
      issuer,
      audience: "meridian",
      jwksUrl: "https://login.example.com/keys",
      algorithms: ["EdDSA", "ES256"],
      tenantClaim: "org",
    },
    rsa: {
      issuer: "https://rsa.example.com/",
      audience: "meridian",
      jwksUrl: "https://rsa.example.com/keys",
      algorithms: ["RS256"],
      tenantClaim: "org",
    },
  },
});
const startMs = 1_780_000_000_000;
const startSeconds = startMs / 1000;
const refused = { kind: "refused" };

interface Signer {
  readonly alg: string;
  readonly key: CryptoKey;
  readonly jwk: JWK;
}
let ed: Signer;
let es: Signer;
let rsa: Signer;
let stranger: Signer;

async function aSigner(alg: string, kid: string): Promise<Signer> {
  const { privateKey, publicKey } = await generateKeyPair(alg, { extractable: true });
  return { alg, key: privateKey, jwk: { ...(await exportJWK(publicKey)), kid } };
}

beforeAll(async () => {
  [ed, es, rsa, stranger] = await Promise.all([
    aSigner("EdDSA", "ed"),
    aSigner("ES256", "es"),
    aSigner("RS256", "rsa"),
    aSigner("EdDSA", "ed"),
  ]);
});

const claims: JWTPayload = {
  iss: issuer,
  aud: "meridian",
  sub: "user-1",
  iat: startSeconds,
  exp: startSeconds + 600,
  org: "acme",
};

function aToken(
  changes: JWTPayload = {},
  header: Readonly<Record<string, unknown>> = {},
  signer: Signer = ed,
): Promise<string> {
  return new SignJWT({ ...claims, ...changes })
    .setProtectedHeader({ alg: signer.alg, kid: signer.jwk.kid ?? "", ...header })
    .sign(signer.key);
}

type Answer = () => Response | Promise<Response>;

/** The issuer's key sets, a clock, and a verifier; `answer` may be exchanged while it runs. */
function aVerifier(answer: Answer = () => Response.json({ keys: [ed.jwk, es.jwk, rsa.jwk] })) {
  const issuerState = { answer, fetched: 0, lastInit: undefined as RequestInit | undefined };
  const clock = { nowMs: startMs };
  const verify = createTokenVerifier({
    topology,
    nowMs: () => clock.nowMs,
    fetcher: async (_url, init) => {
      issuerState.fetched += 1;
      issuerState.lastInit = init as RequestInit;
      return issuerState.answer();
    },
    pause: async (ms) => {
      clock.nowMs += ms;
      await new Promise((resolve) => void setTimeout(resolve, 0));
    },
  });
  return { verify, clock, issuer: issuerState };
}

function base64url(text: string): string {
  return btoa(text).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

describe("a token", () => {
  it("proves the tenant that its claim names, under each pinned algorithm", async () => {
    const { verify } = aVerifier();
    expect(await verify(await aToken())).toMatchObject({ kind: "tenant", tenant: { id: "acme" } });
    expect(await verify(await aToken({ org: "globex" }, {}, es))).toMatchObject({
      tenant: { id: "globex", jurisdiction: "us" },
    });
    const ofRsa = await aToken({ iss: "https://rsa.example.com/" }, {}, rsa);
    expect((await verify(ofRsa)).kind).toBe("tenant");
  });

  it.each(["JWT", "jwt", "at+jwt", "at+JWT"])("may say that it is a %s", async (typ) => {
    expect((await aVerifier().verify(await aToken({}, { typ }))).kind).toBe("tenant");
  });

  it.each(["JOSE", "dpop+jwt", "secevent+jwt", "", 5, ["JWT"], { a: 1 }])(
    "is refused when it says that it is %j",
    async (typ) => {
      expect(await aVerifier().verify(await aToken({}, { typ }))).toEqual(refused);
    },
  );

  it.each<readonly [string, JWTPayload]>([
    ["another issuer", { iss: "https://evil.example.com/" }],
    ["an issuer that is not quite ours", { iss: issuer.slice(0, -1) }],
    ["another provider's issuer", { iss: "https://rsa.example.com/" }],
    ["another audience", { aud: "other" }],
    ["audiences without ours", { aud: ["other", "meridian2"] }],
    ["an unknown tenant", { org: "initech" }],
    ["a tenant that every object has", { org: "constructor" }],
    ["tenants", { org: ["acme"] }],
    ["an expiry in the past", { exp: startSeconds - 6 }],
    ["an issue time in the future", { iat: startSeconds + 6 }],
    ["an issue time of the day before yesterday", { iat: startSeconds - 90_000 }],
    ["a start in the future", { nbf: startSeconds + 6 }],
    ["an expiry that is no number", { exp: "never" as unknown as number }],
  ])("is refused with %s", async (_name, changes) => {
    const { verify } = aVerifier();
    expect(await verify(await aToken(changes))).toEqual(refused);
    expect((await verify(await aToken())).kind).toBe("tenant");
  });

  it.each(["iss", "aud", "sub", "iat", "exp", "org"])("is refused without %s", async (name) => {
    expect(await aVerifier().verify(await aToken({ [name]: undefined }))).toEqual(refused);
  });

  it("is taken within five seconds of difference between the clocks, and with several audiences", async () => {
    const { verify } = aVerifier();
    for (const changes of [
      { exp: startSeconds - 4 },
      { iat: startSeconds + 5 },
      { aud: ["other", "meridian"] },
    ])
      expect((await verify(await aToken(changes))).kind).toBe("tenant");
  });

  it("is refused after any one character of it is changed", async () => {
    const { verify } = aVerifier();
    const token = await aToken();
    for (let index = 0; index < token.length - 1; index += 5) {
      const letter = token.charAt(index) === "A" ? "B" : "A";
      const changed = token.slice(0, index) + letter + token.slice(index + 1);
      expect([index, await verify(changed)]).toEqual([index, refused]);
    }
  });

  it.each(["", ".", "..", "a.b.c", "null.null.null", "💥.💥.💥", "e30.e30.", "e30.e30.e30"])(
    "is refused when it is %j",
    async (text) => {
      const { verify, issuer: provider } = aVerifier();
      expect(await verify(text)).toEqual(refused);
      expect(provider.fetched).toBe(0);
    },
  );

  it("is refused above 8 KiB before anything is read of it", async () => {
    const { verify, issuer: provider } = aVerifier();
    const room = tokenCharactersMax - (await aToken()).length;
    const fitting = await aToken({ pad: "p".repeat(Math.floor((room * 3) / 4) - 20) });
    expect(fitting.length).toBeLessThanOrEqual(tokenCharactersMax);
    expect((await verify(fitting)).kind).toBe("tenant");
    const { fetched } = provider;
    for (const length of [tokenCharactersMax, 1_000_000])
      expect(await verify(await aToken({ pad: "p".repeat(length) }))).toEqual(refused);
    expect(provider.fetched).toBe(fetched);
  });
});

describe("the algorithm", () => {
  it("none is refused", async () => {
    const { verify, issuer: provider } = aVerifier();
    for (const alg of ["none", "None", "NONE", ""]) {
      const header = base64url(JSON.stringify({ alg, typ: "JWT", kid: "ed" }));
      const body = base64url(JSON.stringify(claims));
      expect(await verify(`${header}.${body}.`)).toEqual(refused);
      expect(await verify(`${header}.${body}.AAAA`)).toEqual(refused);
    }
    expect(provider.fetched).toBe(0);
  });

  it("HS256 with the public key as its secret is refused", async () => {
    const secret = new TextEncoder().encode(JSON.stringify(ed.jwk));
    const token = await new SignJWT(claims)
      .setProtectedHeader({ alg: "HS256", kid: "ed" })
      .sign(secret);
    expect(await aVerifier().verify(token)).toEqual(refused);
  });

  it("of another provider is refused", async () => {
    expect(await aVerifier().verify(await aToken({}, {}, rsa))).toEqual(refused);
    const lying = await aToken({ iss: "https://rsa.example.com/" });
    expect(await aVerifier().verify(lying)).toEqual(refused);
  });
});

describe("the header", () => {
  it.each([
    "../../../../etc/passwd",
    "ed' OR '1'='1",
    "ed\0",
    "__proto__",
    "",
    "ED",
    "k".repeat(4000),
  ])("with the key id %j finds no key", async (kid) => {
    expect(await aVerifier().verify(await aToken({}, { kid }))).toEqual(refused);
  });

  it.each([[["ed"]], [5], [null], [{}]])(
    "with a key id of the wrong type is refused: %j",
    async (kid) => {
      const { verify, issuer: provider } = aVerifier();
      expect(await verify(await aToken({}, { kid }))).toEqual(refused);
      expect(provider.fetched).toBe(0);
    },
  );

  it("never makes us follow a key of the token's own", async () => {
    const { verify, issuer: provider } = aVerifier();
    for (const header of [
      { jku: "https://evil.example.com/keys" },
      { x5u: "https://evil.example.com/cert" },
      { jwk: stranger.jwk },
      { x5c: ["AAAA"] },
    ])
      expect(await verify(await aToken({}, header, stranger))).toEqual(refused);
    expect(provider.fetched).toBe(1);
  });

  it("with an extension that must be understood is refused", async () => {
    const [, body, signature] = (await aToken()).split(".");
    for (const crit of [["exp"], ["b64"], [], "exp", ["jwk"]]) {
      const header = base64url(JSON.stringify({ alg: "EdDSA", kid: "ed", crit, b64: true }));
      expect(await aVerifier().verify(`${header}.${body}.${signature}`)).toEqual(refused);
    }
    const critical = await aVerifier().verify(
      await new SignJWT(claims)
        .setProtectedHeader({ alg: "EdDSA", kid: "ed", crit: ["x-scope"], "x-scope": "all" })
        .sign(ed.key, { crit: { "x-scope": true } }),
    );
    expect(critical).toEqual(refused);
  });
});

describe("the issuer's keys", () => {
  it("are fetched once for many tokens, without following redirects", async () => {
    const { verify, issuer: provider } = aVerifier();
    for (let count = 0; count < 5; count += 1)
      expect((await verify(await aToken())).kind).toBe("tenant");
    expect(provider.fetched).toBe(1);
    expect(provider.lastInit?.redirect).toBe("manual");
    expect(provider.lastInit?.signal).toBeInstanceOf(AbortSignal);
  });

  it("are waited for by tokens that come while they are fetched", async () => {
    let release: (response: Response) => void = () => undefined;
    const pending = new Promise<Response>((resolve) => {
      release = resolve;
    });
    const { verify, issuer: provider } = aVerifier(() => pending);
    const token = await aToken();
    const both = [verify(token), verify(token), verify(token)];
    await new Promise((resolve) => void setTimeout(resolve, 0));
    release(Response.json({ keys: [ed.jwk] }));
    expect((await Promise.all(both)).map(({ kind }) => kind)).toEqual([
      "tenant",
      "tenant",
      "tenant",
    ]);
    expect(provider.fetched).toBe(1);
  });

  it("that are old serve on, without a wait, while another token has them fetched again", async () => {
    const { verify, clock, issuer: provider } = aVerifier();
    const token = await aToken({ exp: startSeconds + 6000 });
    expect((await verify(token)).kind).toBe("tenant");
    provider.answer = () => new Promise<Response>(() => undefined);
    clock.nowMs += keySetKeptMs;
    void verify(token);
    await new Promise((resolve) => void setTimeout(resolve, 0));
    expect((await verify(token)).kind).toBe("tenant");
    expect([provider.fetched, clock.nowMs]).toEqual([2, startMs + keySetKeptMs]);
  });

  it("are fetched anew when the request that fetched them is gone", async () => {
    const {
      verify,
      clock,
      issuer: provider,
    } = aVerifier(() => new Promise<Response>(() => undefined));
    void verify(await aToken());
    await new Promise((resolve) => void setTimeout(resolve, 0));
    expect(provider.fetched).toBe(1);
    provider.answer = () => Response.json({ keys: [ed.jwk] });
    clock.nowMs += keySetTimeoutMs;
    expect((await verify(await aToken())).kind).toBe("tenant");
    expect(provider.fetched).toBe(2);
  });

  it("are not fetched again for a flood of unknown key ids", async () => {
    const { verify, issuer: provider } = aVerifier();
    await verify(await aToken());
    for (let count = 0; count < 50; count += 1)
      expect(await verify(await aToken({}, { kid: `flood-${count}` }))).toEqual(refused);
    expect(provider.fetched).toBe(1);
    expect((await verify(await aToken())).kind).toBe("tenant");
  });

  it("may rotate: a new key is found after the cool-down, the old one until it is gone", async () => {
    const { verify, clock, issuer: provider } = aVerifier(() => Response.json({ keys: [ed.jwk] }));
    const ofNext = await aToken({}, {}, es);
    expect((await verify(await aToken())).kind).toBe("tenant");
    provider.answer = () => Response.json({ keys: [es.jwk] });
    clock.nowMs += keySetCooldownMs - 1;
    expect(await verify(ofNext)).toEqual(refused);
    clock.nowMs += 1;
    expect((await verify(ofNext)).kind).toBe("tenant");
    expect(await verify(await aToken())).toEqual(refused);
  });

  it("stay in use while the issuer cannot be reached, for a day and no longer", async () => {
    const { verify, clock, issuer: provider } = aVerifier();
    const fresh = (): Promise<string> => {
      const now = Math.floor(clock.nowMs / 1000);
      return aToken({ iat: now, exp: now + 60 });
    };
    expect((await verify(await fresh())).kind).toBe("tenant");
    provider.answer = () => Promise.reject(new Error("down"));
    clock.nowMs += keySetKeptMs;
    expect((await verify(await fresh())).kind).toBe("tenant");
    expect((await verify(await fresh())).kind).toBe("tenant");
    expect(provider.fetched).toBe(2);
    clock.nowMs = startMs + keySetStaleMsMax;
    expect((await verify(await fresh())).kind).toBe("tenant");
    clock.nowMs = startMs + keySetStaleMsMax + keySetCooldownMs;
    expect(await verify(await fresh())).toEqual(refused);
    provider.answer = () => Response.json({ keys: [ed.jwk] });
    clock.nowMs += keySetCooldownMs;
    expect((await verify(await fresh())).kind).toBe("tenant");
  });

  it.each<readonly [string, Answer]>([
    ["an error", () => new Response("no", { status: 500 })],
    ["a redirect", () => new Response(null, { status: 302, headers: { location: "https://x/" } })],
    ["a page", () => new Response("<html>")],
    ["nothing", () => new Response(null)],
    ["JSON of another shape", () => Response.json({ keys: "all of them" })],
    ["keys that are none", () => Response.json({ keys: [null, 5, "key"] })],
    ["too many keys", () => Response.json({ keys: Array.from({ length: 65 }, () => ed.jwk) })],
    ["too many bytes", () => Response.json({ keys: [ed.jwk], pad: "p".repeat(keySetBytesMax) })],
    ["bytes that are no text", () => new Response(new Uint8Array([0x7b, 0xff]))],
    ["a broken connection", () => Promise.reject(new Error("reset"))],
  ])("are not taken from %s, and not asked for again at once", async (_name, answer) => {
    const { verify, clock, issuer: provider } = aVerifier(answer);
    expect(await verify(await aToken())).toEqual(refused);
    expect(await verify(await aToken())).toEqual(refused);
    expect(provider.fetched).toBe(1);
    provider.answer = () => Response.json({ keys: [ed.jwk] });
    clock.nowMs += keySetCooldownMs;
    expect((await verify(await aToken())).kind).toBe("tenant");
  });

  it("are not read past 64 KiB, however long the answer goes on", async () => {
    let pulled = 0;
    const endless = (): Response =>
      new Response(
        new ReadableStream<Uint8Array>({
          pull(controller) {
            pulled += 1;
            controller.enqueue(new Uint8Array(8192).fill(0x20));
          },
        }),
      );
    expect(await aVerifier(endless).verify(await aToken())).toEqual(refused);
    expect(pulled).toBeLessThan(20);
  });
});
