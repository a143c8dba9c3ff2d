import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseEnv } from "node:util";
import { Miniflare } from "miniflare";
import postgres from "postgres";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { runReceiptsCommand } from "#dev/cli/receipts.ts";
import { startDev, until } from "../e2e/dev-process.ts";
import type { DevProcess } from "../e2e/dev-process.ts";

/**
 * The built bundle, as it would be deployed, with a recorder on its every way out; real cells, engines and one database
 * per region behind it. Canaries stand in every field that a client fills.
 */
const root = fileURLToPath(new URL("../..", import.meta.url));
const model = "sim/llama-3.1-8b-instruct";

interface Egress {
  readonly origin: string;
  readonly text: string;
}

let system: DevProcess;
let edge: Miniflare;
let edgeUrl: URL;
const egress: Egress[] = [];

function bundle(): { type: "ESModule" | "Text"; path: string; contents: string }[] {
  const out = mkdtempSync(join(tmpdir(), "meridian-bundle-"));
  const built = spawnSync(
    process.execPath,
    ["node_modules/wrangler/bin/wrangler.js", "deploy", "--dry-run", "--env=", "--outdir", out],
    {
      cwd: root,
      encoding: "utf8",
      env: {
        ...process.env,
        WRANGLER_SEND_METRICS: "false",
        WRANGLER_SEND_ERROR_REPORTS: "false",
        WRANGLER_LOG_PATH: join(out, "logs"),
      },
    },
  );
  if (built.status !== 0) throw new Error(built.stderr);
  return readdirSync(out)
    .filter((file) => /\.(?:js|jsonc)$/.test(file))
    .toSorted((file) => (file.endsWith(".js") ? -1 : 1))
    .map((file) => ({
      type: file.endsWith(".js") ? ("ESModule" as const) : ("Text" as const),
      path: file,
      contents: readFileSync(join(out, file), "utf8"),
    }));
}

beforeAll(async () => {
  system = await startDev(mkdtempSync(join(tmpdir(), "meridian-residency-")));
  const bindings = parseEnv(readFileSync(join(system.statePath, "edge.env"), "utf8"));
  edge = new Miniflare({
    cf: false,
    workers: [
      {
        name: "edge",
        modules: bundle(),
        compatibilityDate: "2026-07-01",
        bindings: { ...bindings, DEV_PROXY: "none", DO_JURISDICTION: "emulate" },
        durableObjects: {
          CONVERSATION: { className: "Conversation", useSQLite: true },
          TENANT_LEDGER: { className: "TenantLedger", useSQLite: true },
        },
        outboundService: async (outgoing: import("miniflare").Request) => {
          const text = await outgoing.clone().text();
          const { origin, pathname } = new URL(outgoing.url);
          egress.push({ origin, text: `${pathname} ${[...outgoing.headers].join(" ")} ${text}` });
          const { body, headers, status } = await fetch(outgoing.url, {
            method: outgoing.method,
            headers: [...outgoing.headers].filter(
              ([name]) => name !== "host" && name !== "content-length",
            ),
            ...(text === "" ? {} : { body: text }),
            redirect: "manual",
          });
          return new Response(body, { status, headers }) as never;
        },
      },
    ],
  });
  edgeUrl = await edge.ready;
});

afterAll(async () => {
  await edge.dispose();
  system.signal("SIGINT");
  await system.ended;
});

interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly text: string;
}

function send(
  jurisdiction: "eu" | "us",
  method: string,
  path: string,
  body?: unknown,
  options: {
    readonly host?: string;
    readonly headers?: Record<string, string>;
    readonly endless?: boolean;
  } = {},
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const outgoing = request(
      {
        host: edgeUrl.hostname,
        port: edgeUrl.port,
        method,
        path,
        headers: {
          host: options.host ?? `${jurisdiction}.localhost`,
          authorization: `Bearer ${system.file().keys[jurisdiction] ?? ""}`,
          "content-type": "application/json",
          ...options.headers,
        },
      },
      (incoming) => {
        let text = "";
        incoming.setEncoding("utf8");
        incoming.on("data", (piece: string) => {
          text += piece;
        });
        const done = (): void =>
          resolve({ status: incoming.statusCode ?? 0, headers: incoming.headers, text });
        incoming.on("end", done);
        incoming.on("error", reject);
        // An answer to a body that never ends is complete when its own body is.
        if (options.endless === true) outgoing.on("error", () => undefined);
      },
    );
    outgoing.on("error", reject);
    if (options.endless === true) {
      outgoing.setHeader("content-length", "1000000");
      outgoing.write("{");
      return;
    }
    outgoing.end(body === undefined ? undefined : JSON.stringify(body));
  });
}

/** Every text that the engines of a jurisdiction were sent. */
async function seenByShards(jurisdiction: string): Promise<string> {
  const { cells, shards } = system.file();
  const own = new Set(
    cells.filter((cell) => cell.jurisdiction === jurisdiction).map(({ id }) => id),
  );
  const texts = await Promise.all(
    shards
      .filter(({ cell }) => own.has(cell))
      .map(async ({ url }) => (await fetch(`${new URL(url).origin}/control/requests`)).text()),
  );
  return texts.join("\n");
}

/** Every row of every table of a region's database. */
async function seenByDatabase(region: string): Promise<string> {
  const url = system.file().databases.find((database) => database.region === region)?.url ?? "";
  const sql = postgres(url, { max: 1, onnotice: () => undefined });
  try {
    const tables = await sql<{ table_name: string }[]>`
      select table_name from information_schema.tables where table_schema = 'public'`;
    const rows = [];
    for (const { table_name: name } of tables)
      rows.push(...(await sql`select * from ${sql(name)}`));
    return JSON.stringify(rows);
  } finally {
    await sql.end({ timeout: 1 });
  }
}

const regions = { eu: ["eu-west-1", "eu-central-1"], us: ["us-east-1"] } as const;

async function seenByDatabases(jurisdiction: "eu" | "us"): Promise<string> {
  return (await Promise.all(regions[jurisdiction].map(seenByDatabase))).join("\n");
}

function seenByEgress(jurisdiction: "eu" | "us"): string {
  const own = new Set(
    system
      .file()
      .cells.filter((cell) => cell.jurisdiction === jurisdiction)
      .map(({ url }) => new URL(url).origin),
  );
  return egress
    .filter(({ origin }) => own.has(origin))
    .map(({ text }) => text)
    .join("\n");
}

function seenByHealthKv(): string {
  const { origin } = new URL(system.file().health.url);
  return egress
    .filter((call) => call.origin === origin)
    .map(({ text }) => text)
    .join("\n");
}

function logs(): string {
  const folder = join(system.statePath, "logs");
  return readdirSync(folder, { withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map(({ name }) => readFileSync(join(folder, name), "utf8"))
    .join("\n");
}

describe.each([
  ["eu", "us"],
  ["us", "eu"],
] as const)("content of %s", (home, foreign) => {
  const canary = (field: string): string => `canary-${home}-${field}`;
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
    const answer = await send(home, "POST", "/v1/chat/completions", prompt, {
      headers: { "idempotency-key": canary("idempotency"), "x-custom": canary("header") },
    });
    expect(answer.status).toBe(200);
    conversation = String(answer.headers["x-meridian-conversation"]);
    expect(JSON.stringify(answer.headers)).not.toContain("canary");
    expect(await seenByShards(home)).toContain(canary("prompt"));
    const isStored = await until(
      async () => (await seenByDatabases(home)).includes(canary("prompt")),
      20_000,
    );
    expect(isStored).toBe(true);
  });

  it("is nowhere else", async () => {
    const mark = `canary-${home}`;
    expect(seenByEgress(home)).toContain(mark);
    expect(seenByEgress(foreign)).not.toContain(mark);
    expect(await seenByShards(foreign)).not.toContain(mark);
    expect(await seenByDatabases(foreign)).not.toContain(mark);
    expect(seenByHealthKv()).not.toContain(mark);
    expect(logs()).not.toContain(mark);
  });

  it("does not reach a shard from what is not the prompt", async () => {
    const seen = await seenByShards(home);
    for (const field of ["header", "user", "metadata", "idempotency"])
      expect(seen).not.toContain(canary(field));
  });

  it("is gone everywhere after the conversation was deleted", async () => {
    const deleted = await send(home, "DELETE", `/v1/conversations/${conversation}`);
    expect(deleted.status).toBe(200);
    const isGone = await until(
      async () => !(await seenByDatabases(home)).includes(`canary-${home}`),
      20_000,
    );
    expect(isGone).toBe(true);
    expect((await send(home, "GET", `/v1/conversations/${conversation}/items`)).status).toBe(404);
  });
});

describe("the recorder", () => {
  it("sees a canary that is sent to the wrong side", async () => {
    const us = system.file().cells.find((cell) => cell.jurisdiction === "us");
    egress.push({ origin: new URL(us?.url ?? "").origin, text: "canary-eu-on-purpose" });
    expect(seenByEgress("us")).toContain("canary-eu");
    egress.pop();
  });
});

describe("jurisdictions", () => {
  it("are refused with 421 before the body is read, when key and hostname differ", async () => {
    const answer = await send("eu", "POST", "/v1/chat/completions", undefined, {
      host: "us.localhost",
      endless: true,
    });
    expect(answer.status).toBe(421);
    expect(answer.text).toContain("wrong_jurisdiction");
  });

  it("hide each other's ids: the same 404 as for one that does not exist", async () => {
    const made = await send("eu", "POST", "/v1/conversations", {});
    const { id } = JSON.parse(made.text) as { id: string };
    const missing = `${id.slice(0, -1)}${id.endsWith("a") ? "b" : "a"}`;
    const foreign = await send("us", "GET", `/v1/conversations/${id}`);
    const none = await send("us", "GET", `/v1/conversations/${missing}`);
    expect([foreign.status, foreign.text]).toEqual([404, none.text]);
    expect((await send("eu", "GET", `/v1/conversations/${missing}`)).text).toBe(none.text);
    expect((await send("eu", "GET", `/v1/conversations/${id}`)).status).toBe(200);
  });

  it("prove where an answer came from by a receipt that verifies offline", async () => {
    const body = { model, messages: [{ role: "user", content: "Hi [[tokens:3]]" }] };
    const answer = await send("eu", "POST", "/v1/chat/completions", body);
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
    const before = (await seenByShards("us")).length;
    const { cells, shards } = system.file();
    const eu = new Set(cells.filter((cell) => cell.jurisdiction === "eu").map(({ id }) => id));
    const controls = shards
      .filter(({ cell }) => eu.has(cell))
      .map(({ url }) => `${new URL(url).origin}/control/faults`);
    for (const url of controls) {
      await fetch(url, { method: "POST", body: JSON.stringify({ kind: "refuse", scope: "all" }) });
    }
    try {
      const body = { model, messages: [{ role: "user", content: "canary-eu-nowhere" }] };
      const answer = await send("eu", "POST", "/v1/chat/completions", body);
      expect(answer.status).toBe(503);
      expect(answer.text).toContain("no_capacity_in_jurisdiction");
      expect(answer.headers["retry-after"]).toBeDefined();
      const seen = await seenByShards("us");
      expect(seen).not.toContain("canary-eu-nowhere");
      expect(seen.length).toBeGreaterThanOrEqual(before);
    } finally {
      for (const url of controls) await fetch(url, { method: "DELETE" });
    }
  });
});
