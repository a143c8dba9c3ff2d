import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { plainAbilities } from "#shared/config/engine-abilities.ts";
import { testKeys } from "#test/support/edge-keys.ts";
import { call } from "./edge-client.ts";

const shards = "/admin/v1/shards";
const own = "eu-west-1a/llama-0";

interface SeenCommand {
  readonly host: string;
  readonly method: string;
  readonly path: string;
  readonly body: string;
}

let seen: SeenCommand[] = [];
let isCellThere = true;

beforeEach(() => {
  seen = [];
  isCellThere = true;
  vi.spyOn(globalThis, "fetch").mockImplementation(async (input, init) => {
    const request = new Request(input, init);
    const { hostname, pathname } = new URL(request.url);
    const body = await request.text();
    seen.push({ host: hostname, method: request.method, path: pathname, body });
    if (!isCellThere) throw new Error("Network connection lost.");
    const cell = hostname.replace(".test", "");
    const shard = {
      id: `${cell}/llama-0`,
      model: "sim/llama",
      state: body.includes('"drain"') ? "draining" : "active",
      inFlight: 3,
      breaker: "closed",
      weight: 0.5,
      life: { lifecycle: "warming", reason: "saidCold", readyInMs: 12_001 },
      deadlineMs: body.includes('"drain"') ? 1_000_500 : null,
      engine: { source: "probed", abilities: { ...plainAbilities, cacheSalt: true } },
    };
    return Response.json({ shards: [shard] });
  });
});

afterEach(() => {
  vi.restoreAllMocks();
});

const admin = { key: testKeys.admin };

/** Every operator's route of shards, with a body that would be valid. */
const routes: readonly (readonly [string, string, unknown])[] = [
  ["GET", shards, undefined],
  ["POST", `${shards}/${own}/drain`, {}],
  ["POST", `${shards}/${encodeURIComponent(own)}/drain`, {}],
  ["POST", `${shards}/${own}/undrain`, {}],
  ["POST", `${shards}/${encodeURIComponent(own)}/undrain`, {}],
];

describe.each(routes)("%s %s", (method, path, body) => {
  it.each([
    ["no key", null, "eu.localhost", 401],
    ["a forged operator's key", "mk_admin_zzzzzzzzzzzzzzzzzzzzzzzzzz", "eu.localhost", 401],
    ["a tenant's key", testKeys.acme, "eu.localhost", 404],
    ["another jurisdiction's tenant", testKeys.globex, "eu.localhost", 404],
    ["an unknown hostname", testKeys.admin, "api.example.com", 421],
  ])("refuses %s", async (_name, key, host, status) => {
    const answer = await call(path, { method, key, host, body });
    expect(answer.status).toBe(status);
    expect(seen).toEqual([]);
  });

  it("refuses another method with 405", async () => {
    const answer = await call(path, { ...admin, method: "DELETE" });
    expect(answer.status).toBe(405);
    expect(answer.headers.get("allow")).toBe(method);
  });

  it("answers an operator", async () => {
    const answer = await call(path, { ...admin, method, body });
    expect(answer.status).toBe(200);
    expect(answer.headers.get("x-meridian-receipt")).not.toBeNull();
  });
});

describe("the list of shards", () => {
  it("has those of the hostname's jurisdiction and asks no other cell", async () => {
    const answer = await call(shards, admin);
    const data = answer.json()["data"] as { id: string }[];
    expect(data.map(({ id }) => id).toSorted()).toEqual([
      "eu-central-1a/llama-0",
      "eu-west-1a/llama-0",
    ]);
    expect(seen.map(({ host }) => host)).not.toContain("us-east-1a.test");
  });

  it("says that the shards of a cell that does not answer are unknown", async () => {
    isCellThere = false;
    const answer = await call(shards, admin);
    const data = answer.json()["data"] as { id: string; state: string }[];
    expect(data).toHaveLength(3);
    expect(new Set(data.map(({ state }) => state))).toEqual(new Set(["unknown"]));
  });
});

describe("draining a shard", () => {
  it.each([own, encodeURIComponent(own)])("tells its cell, for the id %s", async (id) => {
    const answer = await call(`${shards}/${id}/drain`, { ...admin, body: { deadlineSeconds: 7 } });
    expect(answer.json()).toEqual({
      id: own,
      object: "shard",
      cell: "eu-west-1a",
      model: "sim/llama",
      state: "draining",
      in_flight: 3,
      breaker: "closed",
      weight: 0.5,
      lifecycle: "warming",
      lifecycle_reason: "saidCold",
      ready_in_seconds: 13,
      drain_deadline: 1001,
      engine: {
        source: "probed",
        token_ids: false,
        continue_final_message: false,
        cache_salt: true,
        priority: false,
        load_header: false,
        usage_in_stream: true,
        metrics: null,
      },
    });
    expect(seen).toEqual([
      {
        host: "eu-west-1a.test",
        method: "POST",
        path: "/internal/shards",
        body: JSON.stringify({ kind: "drain", shard: own, deadlineMs: 7000 }),
      },
    ]);
  });

  it("leaves the deadline to the default without a body", async () => {
    await call(`${shards}/${own}/drain`, { ...admin, method: "POST" });
    expect(seen[0]?.body).toContain('"deadlineMs":120000');
  });

  it.each([
    ["us-east-1a/llama-0", "of another jurisdiction"],
    ["eu-west-1a/none", "that is none"],
    ["%E0%A4%A", "that is not encoded as a URL is"],
  ])("does not find %s, a shard %s", async (id) => {
    const answer = await call(`${shards}/${id}/drain`, { ...admin, method: "POST" });
    expect([answer.status, answer.error().code]).toEqual([404, "not_found"]);
    expect(seen).toEqual([]);
  });

  it.each([
    [{ deadlineSeconds: -1 }, "deadlineSeconds"],
    [{ deadlineSeconds: 3601 }, "deadlineSeconds"],
    [{ deadlineSeconds: 1.5 }, "deadlineSeconds"],
    [{ deadline: 1 }, "deadline"],
  ])("refuses the body %j by name", async (body, param) => {
    const answer = await call(`${shards}/${own}/drain`, { ...admin, body });
    expect([answer.status, answer.error().param]).toEqual([400, param]);
    expect(seen).toEqual([]);
  });

  it("says that nothing was changed when the cell does not answer", async () => {
    isCellThere = false;
    const answer = await call(`${shards}/${own}/undrain`, { ...admin, method: "POST" });
    expect([answer.status, answer.error().code]).toEqual([503, "starting"]);
    expect(answer.headers.get("retry-after")).toBe("2");
  });

  it("takes the jurisdiction from the shard at a plain loopback name in development", async () => {
    const us = await call(`${shards}/us-east-1a/llama-0/drain`, {
      ...admin,
      host: "127.0.0.1",
      method: "POST",
    });
    expect(us.status).toBe(200);
    expect(seen[0]?.host).toBe("us-east-1a.test");
  });
});
