import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { findBreaches, holds } from "./findings.ts";
import type { CellConnection, Ground, Recordings } from "./findings.ts";
import { readConnections } from "./recorded-system.ts";

const mark = "canary-eu";
const ground: Ground = {
  territories: {
    eu: {
      cellOrigins: ["http://127.0.0.1:1"],
      healthKv: { origin: "http://127.0.0.1:3", path: "/regions/a" },
    },
    us: {
      cellOrigins: ["http://127.0.0.1:2"],
      healthKv: { origin: "http://127.0.0.1:3", path: "/regions/a" },
    },
  },
  cells: { e1: { contentPlaces: ["127.0.0.1:11"], kvPlaces: ["127.0.0.1:3"] } },
  marks: { eu: mark, us: "canary-us" },
};
const nothing: Recordings = {
  egress: [],
  connections: [],
  logs: [],
  stores: [],
  answerHeads: [],
};

function rulesOf(recordings: Partial<Recordings>): readonly string[] {
  return findBreaches(ground, { ...nothing, ...recordings }).map(({ rule }) => rule);
}

function egress(change: Partial<Recordings["egress"][number]>): Partial<Recordings> {
  const plain = { origin: "http://127.0.0.1:1", method: "PUT", path: "/", headers: "", body: mark };
  return { egress: [{ jurisdiction: "eu", ...plain, ...change }] };
}

describe("the search for canaries", () => {
  it.each([
    ["as it is", `a ${mark} b`],
    ["in hex", Buffer.from(`a ${mark} b`).toString("hex")],
    ["in base64", Buffer.from(`${mark} b`).toString("base64")],
    ["in base64 after one byte", Buffer.from(`a${mark} b`).toString("base64")],
    ["in base64url after two bytes", Buffer.from(`ab${mark} b`).toString("base64url")],
  ])("finds one %s", (_how, text) => {
    expect(holds(text, mark)).toBe(true);
  });

  it.each(["", "canary-e", "canary-us", "q0JzYXJ5"])("finds none in %j", (text) => {
    expect(holds(text, mark)).toBe(false);
  });
});

describe("breaches", () => {
  it("are none where everything is in its place", () => {
    expect(rulesOf(egress({}))).toEqual([]);
    const kv = { origin: "http://127.0.0.1:3", path: "/regions/a", body: '["mget","k"]' };
    expect(rulesOf(egress(kv))).toEqual([]);
    const connections = [
      { cell: "e1", to: "127.0.0.1:11", text: mark },
      { cell: "e1", to: "127.0.0.1:3", text: "" },
    ];
    expect(rulesOf({ connections })).toEqual([]);
    const stores = [{ jurisdiction: "eu", place: "databases", text: mark }];
    expect(rulesOf({ stores })).toEqual([]);
  });

  it.each<[string, Partial<Recordings>]>([
    ["egressToUnknownOrigin", egress({ origin: "http://127.0.0.1:9", body: "" })],
    ["egressToForeignCell", egress({ origin: "http://127.0.0.1:2", body: "" })],
    ["contentOfOtherJurisdiction", egress({ body: "canary-us" })],
    ["contentInUrlOrHeader", egress({ headers: `x: ${mark}` })],
    ["contentInUrlOrHeader", egress({ path: `/?q=${mark}` })],
    [
      "contentInHealthKv",
      egress({ origin: "http://127.0.0.1:3", path: "/regions/a", body: `["mget","${mark}"]` }),
    ],
    [
      "writeToHealthKv",
      egress({ origin: "http://127.0.0.1:3", path: "/regions/a/set/k/v", body: "" }),
    ],
    ["contentInLog", { logs: [{ part: "edge", text: mark }] }],
    ["contentInForeignStore", { stores: [{ jurisdiction: "us", place: "shards", text: mark }] }],
    ["contentInAnswerHead", { answerHeads: [mark] }],
    ["cellConnectsElsewhere", { connections: [{ cell: "e1", to: "127.0.0.1:12", text: "" }] }],
    ["cellConnectsElsewhere", { connections: [{ cell: "u9", to: "127.0.0.1:11", text: "" }] }],
    ["cellSendsContentToKv", { connections: [{ cell: "e1", to: "127.0.0.1:3", text: mark }] }],
  ])("are reported as %s", (rule, recordings) => {
    expect(rulesOf(recordings)).toEqual([rule]);
  });

  it("never quote what was found", () => {
    const findings = findBreaches(ground, { ...nothing, ...egress({ path: `/${mark}` }) });
    expect(JSON.stringify(findings)).not.toContain("canary");
  });
});

/** Runs `code` under the recorder, beside a server that answers everything; what it recorded. */
async function recorded(code: string): Promise<readonly CellConnection[]> {
  const server = createServer((_request, response) => response.end("ok"));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;
  const folder = mkdtempSync(join(tmpdir(), "meridian-recorder-"));
  const path = join(folder, "connections");
  const script = join(folder, "script.mjs");
  writeFileSync(path, "");
  writeFileSync(script, code);
  const preload = fileURLToPath(new URL("record-connections.ts", import.meta.url));
  const child = spawn(process.execPath, ["--import", preload, script], {
    env: { ...process.env, RECORD_CONNECTIONS_TO: path, PORT: String(port), CANARY: mark },
    stdio: "ignore",
  });
  await once(child, "exit");
  server.close();
  return readConnections("e1", readFileSync(path, "utf8").replaceAll(String(port), "PORT"));
}

describe("the recorder of a process", () => {
  it.each([
    [
      "fetch",
      `await fetch("http://127.0.0.1:" + process.env.PORT, { method: "POST", body: process.env.CANARY });`,
    ],
    [
      "node:http",
      `import { request } from "node:http";
       request({ host: "127.0.0.1", port: process.env.PORT, method: "POST" }, (r) => r.resume()).end(process.env.CANARY);`,
    ],
    [
      "node:net",
      `import { connect } from "node:net";
       const socket = connect(Number(process.env.PORT), "127.0.0.1", () => socket.end(Buffer.from(process.env.CANARY)));`,
    ],
  ])("records where %s connects to and what it sends", async (_name, code) => {
    const connections = await recorded(code);
    expect(connections.map(({ to }) => to)).toEqual(["127.0.0.1:PORT"]);
    expect(connections[0]?.text).toContain(mark);
    expect(rulesOf({ connections })).toEqual(["cellConnectsElsewhere"]);
  });

  it("records a connection that nobody accepts", async () => {
    const connections = await recorded(
      `import { connect } from "node:net"; connect(1, "127.0.0.1").on("error", () => {});`,
    );
    expect(connections).toEqual([{ cell: "e1", to: "127.0.0.1:1", text: "" }]);
  });

  it.each([
    [
      "a datagram",
      `import { createSocket } from "node:dgram";
       const socket = createSocket("udp4");
       socket.send("x", 9, "127.0.0.1", () => socket.close());`,
    ],
    [
      "a name that is looked up",
      `import { lookup } from "node:dns/promises";
       await lookup("canary-eu.localhost").catch(() => {});`,
    ],
    [
      "a name that is resolved",
      `import { resolveTxt } from "node:dns";
       resolveTxt("canary-eu.localhost", () => {});`,
    ],
    [
      "another process",
      `import { spawn } from "node:child_process";
       spawn(process.execPath, ["-v"], { stdio: "ignore", env: {} });`,
    ],
  ])("records %s", async (_name, code) => {
    const connections = await recorded(code);
    expect(connections[0]?.to).toMatch(
      /^(?:datagram x:9:127\.0\.0\.1|name canary-eu\.localhost|process .*node)$/,
    );
    expect(rulesOf({ connections })).toContain("cellConnectsElsewhere");
  });
});
