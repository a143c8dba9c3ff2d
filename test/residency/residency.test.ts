import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { runReceiptsCommand } from "#dev/cli/receipts.ts";
import { until } from "../e2e/dev-process.ts";
import { findBreaches, holds } from "./findings.ts";
import type { Finding, Ground } from "./findings.ts";
import { addLeak, leaks } from "./leaks.ts";
import { buildEdge, startRecordedEdge } from "./recorded-edge.ts";
import type { EdgeBundle, RecordedEdge } from "./recorded-edge.ts";
import { startRecordedSystem } from "./recorded-system.ts";
import type { RecordedSystem } from "./recorded-system.ts";

/**
 * The built bundle, as it would be deployed, with a recorder on its every way out; real cells with a recorder on theirs,
 * engines and one database per region behind them. Canaries stand in every field that a client fills. Each jurisdiction
 * has a Worker of its own, so that all that leaves it is known to be that jurisdiction's.
 */
const model = "sim/llama-3.1-8b-instruct";
const marks = { eu: "canary-eu", us: "canary-us" } as const;

let system: RecordedSystem;
let bundle: EdgeBundle;
let edges: Readonly<Record<"eu" | "us", RecordedEdge>>;
const running: { stop(): Promise<void> }[] = [];

beforeAll(async () => {
  bundle = buildEdge();
  system = await startRecordedSystem();
  running.push(system);
  const eu = await startRecordedEdge(bundle, system, "eu");
  running.push(eu);
  const us = await startRecordedEdge(bundle, system, "us");
  running.push(us);
  edges = { eu, us };
});

afterAll(async () => {
  for (const part of running.toReversed()) await part.stop();
});

function ground(): Ground {
  return { territories: system.territories, cells: system.cells, marks };
}

/** What a Worker's own recorder and log tell. */
function breachesOf(edge: RecordedEdge): readonly Finding[] {
  return findBreaches(ground(), {
    egress: edge.egress,
    connections: [],
    logs: [{ part: `edge of ${edge.jurisdiction}`, text: edge.logText() }],
    stores: [],
    answerHeads: edge.answerHeads,
  });
}

describe.each([
  ["eu", "us"],
  ["us", "eu"],
] as const)("content of %s", (home, foreign) => {
  const canary = (field: string): string => `${marks[home]}-${field}`;
  const prompt = {
    model,
    store: true,
    user: canary("user"),
    metadata: { note: canary("metadata") },
    messages: [
      { role: "system", content: canary("system") },
      { role: "user", name: "ada", content: [{ type: "text", text: canary("prompt") }] },
      {
        role: "assistant",
        content: null,
        tool_calls: [
          {
            id: "call_1",
            type: "function",
            function: { name: "f", arguments: JSON.stringify({ a: canary("arguments") }) },
          },
        ],
      },
      { role: "tool", tool_call_id: "call_1", content: canary("tool") },
      { role: "user", content: `${canary("last")} [[tokens:8]]` },
    ],
  };
  let conversation = "";

  it("is answered, and reaches its shards and its database", async () => {
    const answer = await edges[home].send({
      method: "POST",
      path: "/v1/chat/completions",
      body: prompt,
      headers: { "idempotency-key": canary("idempotency"), "x-custom": canary("header") },
    });
    expect(answer.status).toBe(200);
    conversation = String(answer.headers["x-meridian-conversation"]);
    expect(await system.seenByShards(home)).toContain(canary("prompt"));
    const isStored = await until(
      async () => (await system.seenByDatabases(home)).includes(canary("prompt")),
      20_000,
    );
    expect(isStored).toBe(true);
  });

  it("is nowhere else", async () => {
    const { egress } = edges[home];
    expect(egress.some(({ body }) => holds(body, marks[home]))).toBe(true);
    expect(await system.seenByShards(foreign)).not.toContain(marks[home]);
    expect(await system.seenByDatabases(foreign)).not.toContain(marks[home]);
    expect(breachesOf(edges[home])).toEqual([]);
  });

  it("does not reach a shard from what is not the prompt", async () => {
    const seen = await system.seenByShards(home);
    for (const field of ["header", "user", "metadata", "idempotency"])
      expect(seen).not.toContain(canary(field));
  });

  it("is gone everywhere after the conversation was deleted", async () => {
    const deleted = await edges[home].send({
      method: "DELETE",
      path: `/v1/conversations/${conversation}`,
    });
    expect(deleted.status).toBe(200);
    const isGone = await until(
      async () => !(await system.seenByDatabases(home)).includes(marks[home]),
      20_000,
    );
    expect(isGone).toBe(true);
    const path = `/v1/conversations/${conversation}/items`;
    expect((await edges[home].send({ method: "GET", path })).status).toBe(404);
  });
});

describe("jurisdictions", () => {
  it("are refused with 421 before the body is read, when key and hostname differ", async () => {
    const answer = await edges.eu.send({
      method: "POST",
      path: "/v1/chat/completions",
      headers: { host: "us.localhost" },
      isEndless: true,
    });
    expect(answer.status).toBe(421);
    expect(answer.text).toContain("wrong_jurisdiction");
  });

  it("hide each other's ids: the same 404 as for one that does not exist", async () => {
    const made = await edges.eu.send({ method: "POST", path: "/v1/conversations", body: {} });
    const { id } = JSON.parse(made.text) as { id: string };
    const missing = `${id.slice(0, -1)}${id.endsWith("a") ? "b" : "a"}`;
    // At the same Worker, where the conversation could be found.
    const asUs = {
      host: "us.localhost",
      authorization: `Bearer ${system.keys["us"] ?? ""}`,
    };
    const get = (wanted: string, headers = {}) =>
      edges.eu.send({ method: "GET", path: `/v1/conversations/${wanted}`, headers });
    const foreign = await get(id, asUs);
    const none = await get(missing, asUs);
    expect([foreign.status, foreign.text]).toEqual([404, none.text]);
    expect((await get(missing)).text).toBe(none.text);
    expect((await get(id)).status).toBe(200);
  });

  it("prove where an answer came from by a receipt that verifies offline", async () => {
    const body = { model, messages: [{ role: "user", content: "Hi [[tokens:3]]" }] };
    const answer = await edges.eu.send({ method: "POST", path: "/v1/chat/completions", body });
    const file = join(system.statePath, "receipt.txt");
    writeFileSync(file, String(answer.headers["x-meridian-receipt"]));
    const lines: string[] = [];
    const io = {
      readStandardInput: () => "",
      out: (line: string) => void lines.push(line),
      error: (line: string) => void lines.push(line),
      environment: {},
      folder: system.statePath,
    };
    const keys = ["--keys", join(system.statePath, "receipt-keys.json")];
    expect(await runReceiptsCommand(["verify", file, ...keys], io)).toBe(0);
    expect(lines.join("\n")).toContain(String(answer.headers["x-meridian-shard"]));
    const text = readFileSync(file, "utf8");
    writeFileSync(file, `${text.slice(0, 40)}${text[40] === "A" ? "B" : "A"}${text.slice(41)}`);
    expect(await runReceiptsCommand(["verify", file, ...keys], io)).toBe(1);
  });

  it("refuse rather than serve elsewhere when every shard of theirs fails", async () => {
    const before = (await system.seenByShards("us")).length;
    const controls = system.engines("eu").map((origin) => `${origin}/control/faults`);
    for (const url of controls) {
      await fetch(url, { method: "POST", body: JSON.stringify({ kind: "refuse", scope: "all" }) });
    }
    try {
      const body = { model, messages: [{ role: "user", content: "canary-eu-nowhere" }] };
      const answer = await edges.eu.send({ method: "POST", path: "/v1/chat/completions", body });
      expect(answer.status).toBe(503);
      expect(answer.text).toContain("no_capacity_in_jurisdiction");
      expect(answer.headers["retry-after"]).toBeDefined();
      const seen = await system.seenByShards("us");
      expect(seen).not.toContain("canary-eu-nowhere");
      expect(seen.length).toBeGreaterThanOrEqual(before);
    } finally {
      for (const url of controls) await fetch(url, { method: "DELETE" });
    }
  });
});

describe("everything recorded so far", () => {
  it("misses no way out: the bundle opens no socket of its own, which the recorder would not see", () => {
    const code = bundle.map(({ contents }) => contents).join("\n");
    const platformModules = new Set(code.match(/cloudflare:[a-z-]+/g));
    expect([...platformModules]).toEqual(["cloudflare:workers"]);
  });

  it("holds what it must: a Worker's log, its egress, and each cell's ways to shards, database and KV", () => {
    for (const edge of Object.values(edges)) {
      expect(edge.logText()).toContain('"part":"edge"');
      expect(edge.egress.length).toBeGreaterThan(0);
    }
    for (const [cell, { contentPlaces, kvPlaces }] of Object.entries(system.cells)) {
      const own = system.connections().filter((one) => one.cell === cell);
      const places = new Set(own.map(({ to }) => to));
      expect(places).toEqual(new Set([...contentPlaces, ...kvPlaces]));
    }
    const sent = system.connections().map(({ text }) => text);
    expect(sent.some((text) => holds(text, marks.eu))).toBe(true);
  });

  it("shows no breach", async () => {
    const both = Object.values(edges);
    const findings = findBreaches(ground(), {
      egress: both.flatMap(({ egress }) => egress),
      connections: system.connections(),
      logs: [
        ...system.logs(),
        ...both.map((edge) => ({ part: `edge of ${edge.jurisdiction}`, text: edge.logText() })),
      ],
      stores: await system.stores(),
      answerHeads: both.flatMap(({ answerHeads }) => answerHeads),
    });
    expect(findings).toEqual([]);
  });
});

describe("an edge that", () => {
  it.each(leaks.map((leak) => [leak.name, leak] as const))(
    "%s is found out",
    async (_name, leak) => {
      const edge = await startRecordedEdge(addLeak(bundle, leak), system, "eu");
      try {
        const content = "canary-eu-leaked [[tokens:3]]";
        const body = { model, messages: [{ role: "user", content }] };
        const answer = await edge.send({ method: "POST", path: "/v1/chat/completions", body });
        expect(answer.status).toBe(200);
        const isFound = (): boolean => breachesOf(edge).some(({ rule }) => rule === leak.rule);
        expect(await until(isFound, 10_000)).toBe(true);
      } finally {
        await edge.stop();
      }
    },
  );
});
