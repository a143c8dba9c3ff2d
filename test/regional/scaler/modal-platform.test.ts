import { createServer } from "node:http2";
import type { AddressInfo } from "node:net";
import { describe, expect, it, onTestFinished } from "vitest";
import { createModalPlatform } from "#regional/backends/platforms/modal-platform.ts";
import type { Platform } from "#regional/ports/platform.ts";
import { unknownDesired } from "#shared/scaling/pool-supply.ts";
import { startFakeModalControl } from "#test/support/fake-modal-control.ts";
import { aPool } from "#test/sim/scaler/region.ts";

const pool = aPool({ platform: "modal", replicasMax: 300 });
const answering = new Set<string>(pool.shards);
const none = new Set<string>();
const server = {
  app: "acme",
  server: "Llama",
  environment: null,
  // 64 of each container.
  concurrentRequestsMax: 64 * pool.replicasMax,
  tokenId: "ak-1",
  tokenSecret: "as-1",
};

async function aPlatform(fields: { readonly environment?: string } = {}) {
  const modal = await startFakeModalControl();
  let nowMs = 0;
  const platform: Platform = createModalPlatform({
    serverOf: ({ id }) => (id === pool.id ? { ...server, ...fields } : null),
    monotonicMs: () => nowMs,
    origin: modal.origin,
  });
  onTestFinished(async () => {
    platform.close();
    await modal.close();
  });
  const { signal } = new AbortController();
  return {
    modal,
    platform,
    methods: () => modal.calls.map(({ method }) => method),
    later: (byMs: number) => void (nowMs += byMs),
    observe: (ready: ReadonlySet<string> = answering) => platform.observe(pool, ready, signal),
    apply: (replicas: number, by = signal) => platform.apply(pool, replicas, 7, by),
  };
}

const update = "FunctionUpdateSchedulingParams";

describe("Modal's control plane", () => {
  it("gets floor, ceiling and how full a container may be in one call, as Modal's own SDK says it", async () => {
    const { apply, methods, modal } = await aPlatform();
    expect(await apply(4)).toBe("applied");
    expect(methods()).toStrictEqual(["AuthTokenGet", "FunctionGet", update]);
    // The bytes that modal 0.11.1 of npm sends to the same stand-in.
    expect(modal.calls.map(({ hex }) => hex)).toStrictEqual([
      "",
      "0a0461636d6512054c6c616d61",
      "0a0466752d311a10080410ac021800490000000000005040",
    ]);
    expect(modal.settings).toStrictEqual({ min: 4, max: 300, buffer: 0 });
  });

  it("is told who asks by every call, and in nothing but the headers", async () => {
    const { apply, modal } = await aPlatform();
    await apply(4);
    const [open, find, bound] = modal.calls.map(({ headers }) => headers);
    const credentials = { "x-modal-token-id": "ak-1", "x-modal-token-secret": "as-1" };
    expect(open).toMatchObject(credentials);
    expect(open).not.toHaveProperty("x-modal-auth-token");
    for (const headers of [find, bound])
      expect(headers).toMatchObject({
        ...credentials,
        "x-modal-auth-token": "a.b.c",
        "x-modal-client-type": "8",
        "content-type": "application/grpc",
        te: "trailers",
      });
    for (const { hex } of modal.calls)
      expect(hex).not.toContain(Buffer.from("as-1").toString("hex"));
  });

  it("finds a server in the environment that is named", async () => {
    const { apply, modal } = await aPlatform({ environment: "eu" });
    await apply(4);
    expect(modal.calls[1]?.hex).toBe("0a0461636d6512054c6c616d6122026575");
  });

  it("tells what runs, and what it was told counts until it is told again", async () => {
    const { apply, later, modal, observe } = await aPlatform();
    modal.containers = 3;
    expect(await observe()).toStrictEqual({ desired: unknownDesired, ready: 3 });
    await apply(5);
    expect(await observe()).toStrictEqual({ desired: 5, ready: 3 });
    later(299_999);
    expect(await observe()).toStrictEqual({ desired: 5, ready: 3 });
    later(1);
    expect(await observe()).toStrictEqual({ desired: unknownDesired, ready: 3 });
  });

  it("is asked for its containers once in fifteen seconds, and again after a change", async () => {
    const { apply, later, methods, modal, observe } = await aPlatform();
    const counts = (): number =>
      methods().filter((method) => method === "FunctionGetCurrentStats").length;
    modal.containers = 3;
    await observe();
    modal.containers = 4;
    later(14_999);
    expect(await observe()).toMatchObject({ ready: 3 });
    expect(counts()).toBe(1);
    later(1);
    expect(await observe()).toMatchObject({ ready: 4 });
    await apply(5);
    modal.containers = 5;
    expect(await observe()).toMatchObject({ ready: 5 });
    expect(counts()).toBe(3);
  });

  it("counts containers that start: none of them is ready while no cell is answered", async () => {
    const { modal, observe } = await aPlatform();
    modal.containers = 3;
    expect(await observe(none)).toMatchObject({ ready: 0 });
  });

  it("may get an order twice", async () => {
    const { apply, modal } = await aPlatform();
    await apply(5);
    expect(await apply(5)).toBe("applied");
    expect(modal.settings).toMatchObject({ min: 5, max: 300 });
  });

  it.each([
    ["RESOURCE_EXHAUSTED", 8, "throttled"],
    ["FAILED_PRECONDITION", 9, "quotaRefused"],
    ["INVALID_ARGUMENT", 3, "failed"],
    ["PERMISSION_DENIED", 7, "failed"],
    ["UNAUTHENTICATED", 16, "failed"],
    ["INTERNAL", 13, "failed"],
    ["UNAVAILABLE", 14, "failed"],
  ])("answers %s (%i): %s, after one try", async (_, grpcStatus, outcome) => {
    for (const inTrailers of [false, true]) {
      const { apply, methods, modal, observe } = await aPlatform();
      modal.refuse = (method) => (method === update ? { grpcStatus, inTrailers } : null);
      expect(await apply(5)).toBe(outcome);
      expect(methods().filter((method) => method === update)).toHaveLength(1);
      expect(await observe()).toMatchObject({ desired: unknownDesired });
    }
  });

  it("that takes the call and keeps a lower floor has no more to give", async () => {
    const { apply, modal, observe } = await aPlatform();
    modal.containersMinMax = 3;
    expect(await apply(5)).toBe("quotaRefused");
    expect(await observe()).toMatchObject({ desired: unknownDesired });
  });

  it.each([
    ["nothing", Buffer.alloc(0)],
    ["half a message", Buffer.from([0, 0, 0, 0, 9, 10, 4])],
    ["a compressed message", Buffer.from([1, 0, 0, 0, 0])],
    ["bytes that are no message", Buffer.from([0, 0, 0, 0, 2, 10, 200])],
  ])("that answers with %s has not answered", async (_, body) => {
    const { apply, modal } = await aPlatform();
    modal.refuse = (method) => (method === update ? { body } : null);
    expect(await apply(5)).toBe("failed");
  });

  it("that breaks off in the middle has not answered, and is not asked again", async () => {
    const { apply, methods, modal } = await aPlatform();
    modal.refuse = (method) => (method === update ? "reset" : null);
    expect(await apply(5)).toBe("failed");
    expect(methods().filter((method) => method === update)).toHaveLength(1);
  });

  it("that does not answer is given up when the call's time is over", async () => {
    const { apply, methods, modal } = await aPlatform();
    modal.refuse = (method) => (method === update ? "silence" : null);
    const controller = new AbortController();
    const applied = apply(5, controller.signal);
    await expect.poll(methods).toHaveLength(3);
    controller.abort();
    expect(await applied).toBe("failed");
    expect(methods()).toHaveLength(3);
    expect(await apply(5, controller.signal)).toBe("failed");
    expect(methods()).toHaveLength(3);
  });

  it("that cannot be reached has not answered", async () => {
    const gone = createServer();
    await new Promise<void>((resolve) => gone.listen(0, "127.0.0.1", resolve));
    const { port } = gone.address() as AddressInfo;
    await new Promise<void>((resolve) => gone.close(() => resolve()));
    const platform = createModalPlatform({
      serverOf: () => server,
      monotonicMs: () => 0,
      origin: `http://127.0.0.1:${port}`,
    });
    const { signal } = new AbortController();
    expect(await platform.observe(pool, answering, signal)).toBeNull();
    expect(await platform.apply(pool, 3, 1, signal)).toBe("failed");
  });

  it("that does not know the token is asked nothing else, and for a new session afterwards", async () => {
    const { apply, methods, modal, observe } = await aPlatform();
    modal.refuse = () => ({ grpcStatus: 16 });
    expect(await observe()).toBeNull();
    expect(await apply(5)).toBe("failed");
    expect(methods()).toStrictEqual(["AuthTokenGet", "AuthTokenGet"]);
    modal.refuse = (method) => (method === update ? { grpcStatus: 16 } : null);
    expect(await apply(5)).toBe("failed");
    modal.refuse = () => null;
    expect(await apply(5)).toBe("applied");
    expect(methods().slice(2)).toStrictEqual([
      "AuthTokenGet",
      "FunctionGet",
      update,
      "AuthTokenGet",
      update,
    ]);
  });

  it("that gives an empty session is asked nothing else", async () => {
    const { apply, methods, modal } = await aPlatform();
    modal.refuse = (method) => (method === update ? { grpcStatus: 16 } : null);
    await apply(5);
    modal.refuse = (method) =>
      method === "AuthTokenGet" ? { body: Buffer.from([0, 0, 0, 0, 0]) } : null;
    expect(await apply(5)).toBe("failed");
    expect(methods().slice(3)).toStrictEqual(["AuthTokenGet"]);
  });

  it("is asked for the server's name again after a deploy gave it another id", async () => {
    const { apply, later, modal, observe } = await aPlatform();
    await apply(5);
    modal.id = "fu-2";
    later(300_000);
    modal.containers = 1;
    expect(await observe()).toStrictEqual({ desired: unknownDesired, ready: 1 });
    expect(await apply(5)).toBe("applied");
    expect(modal.calls.at(-1)?.hex.startsWith("0a0466752d32")).toBe(true);
  });

  it("that no longer knows the id is asked for the name by the next call", async () => {
    const { apply, methods, modal } = await aPlatform();
    await apply(5);
    modal.refuse = (method) => (method === update ? { grpcStatus: 5 } : null);
    expect(await apply(6)).toBe("failed");
    modal.refuse = () => null;
    expect(await apply(6)).toBe("applied");
    expect(methods().slice(3)).toStrictEqual([update, "FunctionGet", update]);
  });

  it("that cannot be read tells nothing", async () => {
    const { modal, observe } = await aPlatform();
    modal.refuse = (method) => (method === "FunctionGet" ? { grpcStatus: 5 } : null);
    expect(await observe()).toBeNull();
    modal.refuse = (method) => (method === "FunctionGetCurrentStats" ? { grpcStatus: 7 } : null);
    expect(await observe()).toBeNull();
  });

  it("is not asked for a pool that is not its own", async () => {
    const { modal, platform } = await aPlatform();
    const other = aPool({ id: "other" });
    const { signal } = new AbortController();
    expect(await platform.observe(other, none, signal)).toBeNull();
    expect(await platform.apply(other, 3, 1, signal)).toBe("failed");
    expect(modal.calls).toStrictEqual([]);
  });
});
