import { createExecutionContext, waitOnExecutionContext } from "cloudflare:test";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { createHealthHints } from "#edge/adapters/health-hints.ts";
import type { CellDescription } from "#shared/config/topology.ts";
import { encodeHint } from "#shared/health/hint-codec.ts";
import type { CellHint } from "#shared/health/hint.ts";
import type { CellId, Jurisdiction, RegionId } from "#shared/residency/brands.ts";

const eu = "eu" as Jurisdiction;
const west = "eu-west-1a" as CellId;
const central = "eu-central-1a" as CellId;
const cells = [west, central].map((id): CellDescription => ({
  id,
  jurisdiction: eu,
  region: id.slice(0, -1) as RegionId,
  zone: "a",
  url: "http://cell.test",
}));

/** The runtime's HMAC under a fixed key. */
async function macHex(text: string): Promise<string> {
  const encoder = new TextEncoder();
  const algorithm = { name: "HMAC", hash: "SHA-256" };
  const key = await crypto.subtle.importKey("raw", encoder.encode("k"), algorithm, false, ["sign"]);
  const bytes = new Uint8Array(await crypto.subtle.sign("HMAC", key, encoder.encode(text)));
  return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

async function hintText(cell: CellId, weight: number): Promise<string | null> {
  const version = { boot: 1, counter: 1, atMs: 1 };
  const load = { weight, saturation: 0, level: 0, models: ["llama"], shards: [] };
  const hint: CellHint = { v: 1, cell, ...version, ...load };
  return encodeHint(hint, macHex);
}

let nowMs: number;
let requests: Request[];
let answer: (request: Request) => Promise<Response>;

beforeEach(() => {
  nowMs = 1_800_000_000_000;
  requests = [];
  vi.spyOn(globalThis, "fetch").mockImplementation((input, init) => {
    const request = new Request(input, init);
    requests.push(request);
    return answer(request);
  });
});
afterEach(() => {
  vi.restoreAllMocks();
});

const answerWith = (values: readonly (string | null)[]): void => {
  answer = async () => {
    const encoded = values.map((value) => (value === null ? null : btoa(value)));
    return Response.json({ result: encoded });
  };
};

function start() {
  const failures: string[] = [];
  const hints = createHealthHints({
    url: "https://kv.test",
    token: "reading-token",
    macHex,
    cells,
    nowMs: () => nowMs,
    onFailure: (reason) => failures.push(reason),
  });
  return {
    hints,
    failures,
    /** One request's share: it starts the refresh and ends without waiting for it. */
    request: async (): Promise<void> => {
      const context = createExecutionContext();
      hints.refresh((work) => context.waitUntil(work));
      await waitOnExecutionContext(context);
    },
  };
}

it("reads all cells in one request with the reading token, and tells the KV nothing else", async () => {
  answerWith([await hintText(west, 0.25), null]);
  const { hints, failures, request } = start();
  await request();
  expect(hints.read(eu).get(west)?.weight).toBe(0.25);
  expect(hints.counts()).toEqual({ accepted: 1, missing: 1 });
  expect(failures).toEqual([]);
  const [sent] = requests;
  expect(requests).toHaveLength(1);
  expect(sent?.url).toBe("https://kv.test/");
  expect(sent?.headers.get("authorization")).toBe("Bearer reading-token");
  expect([...(sent?.headers.keys() ?? [])].filter((name) => /telemetry|sync/i.test(name))).toEqual(
    [],
  );
  const keys = [west, central].map((cell) => `meridian:health:v1:${cell}`);
  expect(await sent?.json()).toEqual(["mget", ...keys]);
});

it("answers at once with the last copy while a refresh hangs, and gives it up after 50 ms", async () => {
  answerWith([await hintText(west, 0.25), await hintText(central, 0.5)]);
  const { hints, failures, request } = start();
  await request();
  answer = ({ signal }) =>
    new Promise((_, reject) => {
      signal.addEventListener("abort", () => reject(signal.reason));
    });
  nowMs += 2_000;
  const hanging = request();
  expect(hints.read(eu).size).toBe(2);
  await hanging;
  expect(failures).toEqual(["timeout"]);
  expect(hints.read(eu).get(central)?.weight).toBe(0.5);
});

it("lets a second request start its own refresh while the first hangs, after two seconds", async () => {
  const { request, failures } = start();
  answer = ({ signal }) =>
    new Promise((_, reject) => {
      signal.addEventListener("abort", () => reject(signal.reason));
    });
  const first = request();
  await request();
  expect(requests).toHaveLength(1);
  nowMs += 2_000;
  await Promise.all([first, request()]);
  expect(requests).toHaveLength(2);
  expect(failures).toEqual(["timeout", "timeout"]);
});

it.for<[string, string, () => Promise<Response>]>([
  ["no connection", "unreachable", () => Promise.reject(new TypeError("Network connection lost."))],
  [
    "a refused token",
    "unauthorised",
    async () =>
      Response.json({ error: "WRONGPASS invalid or missing auth token" }, { status: 401 }),
  ],
  ["a refusal as text", "unauthorised", async () => new Response("Unauthorized", { status: 401 })],
  ["an error", "refused", async () => Response.json({ error: "ERR" }, { status: 500 })],
  [
    "a web page",
    "garbage",
    async () => new Response("<html>", { headers: { "content-type": "text/html" } }),
  ],
  ["an empty body", "garbage", async () => new Response("")],
  ["null", "garbage", async () => Response.json(null)],
  ["no result", "garbage", async () => Response.json({})],
  ["a text as the result", "malformed", async () => Response.json({ result: "b2s=" })],
  ["too few values", "malformed", async () => Response.json({ result: [] })],
  ["numbers", "malformed", async () => Response.json({ result: [1, 2] })],
  ["objects", "malformed", async () => Response.json({ result: [{ weight: 0 }, {}] })],
])(
  "keeps its copy when the KV answers %s, says %s, and raises nothing",
  async ([, reason, broken]) => {
    answerWith([await hintText(west, 0.25), null]);
    const { hints, failures, request } = start();
    await request();
    answer = broken;
    nowMs += 2_000;
    await request();
    expect(hints.read(eu).get(west)?.weight).toBe(0.25);
    expect(new Set(failures)).toEqual(new Set([reason]));
    expect(requests).toHaveLength(2);
  },
);
