import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { testKeys } from "#test/support/edge-keys.ts";
import { call } from "./edge-client.ts";

const state = {
  level: 2,
  levelSinceMs: 1_700_000_000_500,
  saturation: 0.9,
  queueDelay: 0.4,
  healthyShare: 0.66,
  errorRatio: 0,
};
let answered: unknown = state;
const hosts: string[] = [];

beforeEach(() => {
  answered = state;
  hosts.length = 0;
  vi.spyOn(globalThis, "fetch").mockImplementation((input, init) => {
    const { hostname, pathname } = new URL(new Request(input, init).url);
    hosts.push(hostname);
    if (pathname !== "/internal/cell") return Promise.resolve(new Response("", { status: 404 }));
    return Promise.resolve(Response.json(answered));
  });
});

afterEach(() => {
  vi.restoreAllMocks();
});

describe("GET /admin/v1/cells", () => {
  it("shows each cell of the hostname's jurisdiction with its level, and asks no other", async () => {
    const answer = await call("/admin/v1/cells", { method: "GET", key: testKeys.admin });
    expect(answer.status).toBe(200);
    const { data } = JSON.parse(answer.text) as { data: Record<string, unknown>[] };
    expect(data.length).toBeGreaterThan(0);
    expect(data[0]).toMatchObject({
      object: "cell",
      jurisdiction: "eu",
      state: "ready",
      level: 2,
      level_since: 1_700_000_000,
      saturation: 0.9,
      healthy_share: 0.66,
    });
    expect(hosts.every((host) => host.startsWith("eu-"))).toBe(true);
  });

  it("shows the plans of a cell that leads its region's scaler", async () => {
    const plan = {
      model: "sim/llama",
      there: 4,
      replicas: 6,
      wanted: 6,
      reason: "demandRises",
      text: "4 to 6: demand rises",
    };
    answered = { ...state, plans: [{ ...plan, surplus: "not shown" }] };
    const answer = await call("/admin/v1/cells", { method: "GET", key: testKeys.admin });
    const { data } = JSON.parse(answer.text) as { data: Record<string, unknown>[] };
    expect(data[0]).toMatchObject({ state: "ready", scaling_plans: [plan] });
    expect(answer.text).not.toContain("surplus");
  });

  it("takes a cell that tells of no plans for one that does not lead", async () => {
    const answer = await call("/admin/v1/cells", { method: "GET", key: testKeys.admin });
    const { data } = JSON.parse(answer.text) as { data: Record<string, unknown>[] };
    expect(data[0]).toMatchObject({ state: "ready", scaling_plans: [] });
  });

  it("says that it does not know a cell whose answer is none", async () => {
    answered = { ...state, level: 7 };
    const answer = await call("/admin/v1/cells", { method: "GET", key: testKeys.admin });
    const { data } = JSON.parse(answer.text) as { data: Record<string, unknown>[] };
    expect(data[0]).toMatchObject({ state: "unknown", level: null });
  });

  it("is no tenant's to see", async () => {
    const answer = await call("/admin/v1/cells", { method: "GET", key: testKeys.acme });
    expect(answer.status).toBe(404);
    expect(hosts).toEqual([]);
  });
});
