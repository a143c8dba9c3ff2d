import { createHash, createHmac, randomBytes } from "node:crypto";
import { request } from "node:http";
import type { Server } from "node:http";
import { onTestFinished } from "vitest";
import { createCell } from "#regional/deps.ts";
import type { CellOverrides } from "#regional/deps.ts";
import type { DrainFile, DrainRecord } from "#regional/ports/drain-file.ts";
import { readConfig } from "#regional/config.ts";
import { closeServer, serveCell } from "#regional/server.ts";
import type { TopologyFile } from "#shared/config/topology.ts";
import { base62 } from "#shared/residency/identifiers.ts";
import type { HistoryStore } from "#shared/protocol/internal/history.ts";
import { outcomeBlockStart } from "#shared/protocol/internal/stream.ts";
import { signatureHeaders, signatureInput } from "#shared/protocol/internal/signature.ts";
import { parseTurnOutcome } from "#shared/protocol/internal/turn-outcome.ts";
import type { TurnOutcome } from "#shared/protocol/internal/turn-outcome.ts";
import { startFakeEngine } from "#test/support/fake-engine.ts";
import type { FakeEngine } from "#test/support/fake-engine.ts";

export const model = "sim/llama";
const cellId = "eu-west-1a";
const key = "ab".repeat(32);

/** A cell on a real socket with as many shards as engines. */
export interface TestCell {
  readonly url: string;
  readonly engines: readonly FakeEngine[];
  /** The engine that the turn's affinity key ranks first comes first; found by asking. */
  readonly logLines: string[];
  readonly usage: unknown[];
  call(method: string, path: string, body?: unknown, init?: CallInit): Promise<Response>;
  put(turn: TestTurn, init?: CallInit): Promise<Response>;
  drain(timeoutMs: number): Promise<void>;
  readonly server: Server;
}

export interface CallInit {
  readonly signal?: AbortSignal;
  readonly headers?: Record<string, string>;
  /** Changes what is signed. */
  readonly sign?: {
    readonly timestampMs?: number;
    readonly cell?: string;
    readonly nonce?: string;
  };
}

function memoryDrainFile(): DrainFile {
  let kept: readonly DrainRecord[] = [];
  return { read: () => kept, write: (records) => void (kept = records) };
}

/** A history that remembers what it was told. */
export function fakeHistory(usage: unknown[]): HistoryStore {
  return {
    execute: async () => ({ kind: "applied" }),
    recordUsage: async (records) => {
      usage.push(...records);
      return "recorded";
    },
    read: async () => [],
    ping: async () => true,
    close: async () => {},
  };
}

export interface CellOptions {
  readonly concurrentRequestsMax?: number;
  readonly overrides?: CellOverrides;
  /** Changes the topology's file before it is read. */
  readonly change?: (file: TopologyFile) => TopologyFile;
}

export async function aCell(options: { engines?: number } & CellOptions = {}): Promise<TestCell> {
  const engines: FakeEngine[] = [];
  for (let index = 0; index < (options.engines ?? 2); index += 1) {
    const engine = await startFakeEngine();
    onTestFinished(() => engine.close());
    engines.push(engine);
  }
  return aCellOf(engines, options);
}

export async function aCellOf(
  engines: readonly FakeEngine[],
  options: CellOptions = {},
): Promise<TestCell> {
  const usage: unknown[] = [];
  const logLines: string[] = [];
  const cell = await createCell(
    configOf(
      engines.map(({ url }) => url),
      options.concurrentRequestsMax ?? 64,
      options.change ?? ((file) => file),
    ),
    {
      history: fakeHistory(usage),
      drainFile: memoryDrainFile(),
      writeLog: (line) => logLines.push(line),
      ...options.overrides,
    },
  );
  const listening = Promise.withResolvers<string>();
  const server = serveCell(cell.app, { hostname: "127.0.0.1", port: 0 }, listening.resolve);
  const url = await listening.promise;
  cell.start();
  onTestFinished(async () => {
    await closeServer(server, 0);
    await cell.close();
  });
  const call: TestCell["call"] = (method, path, body, init = {}) => {
    const text = body === undefined ? "" : JSON.stringify(body);
    return fetch(`${url}${path}`, {
      method,
      headers: { ...signed(method, path, text, init.sign), ...init.headers },
      ...(text === "" ? {} : { body: text }),
      ...(init.signal === undefined ? {} : { signal: init.signal }),
    });
  };
  return {
    url,
    engines,
    usage,
    logLines,
    server,
    call,
    put: (turn, init) =>
      call("PUT", `/internal/turns/${turn.turnId}?attempt=${turn.attempt}`, turn, init),
    drain: (timeoutMs) => cell.drain(timeoutMs),
  };
}

function configOf(
  urls: readonly string[],
  concurrentRequestsMax: number,
  change: (file: TopologyFile) => TopologyFile,
) {
  const shards = Object.fromEntries(
    urls.map((url, index) => [
      `${cellId}/s-${index}`,
      {
        cell: cellId,
        model,
        backend: { kind: "simulated", url },
        capacity: { concurrentRequestsMax, kvTokensMax: 1000 },
        purchase: "on-demand",
        pricePerHourMicroUsd: 1,
      },
    ]),
  );
  const topology = change({
    jurisdictions: { eu: { hostnames: ["eu.localhost"], objects: "eu", regions: ["eu-west-1"] } },
    regions: { "eu-west-1": { latitude: 1, longitude: 1, database: "embedded" } },
    cells: { [cellId]: { region: "eu-west-1", zone: "a", url: "http://127.0.0.1:0" } },
    models: {
      [model]: { revision: "r1", contextTokensMax: 4096, capabilities: ["chat", "embeddings"] },
    },
    shards,
    tenants: {},
  } as TopologyFile);
  const result = readConfig(
    {
      MERIDIAN_TOPOLOGY: "topology",
      MERIDIAN_CELL: cellId,
      MERIDIAN_DATA_DIR: "unused",
      CELL_SIGNING_KEYS: JSON.stringify({ current: "k1", keys: { k1: key } }),
      CACHE_SALT_KEY: key,
      MERIDIAN_CANARY_SECONDS: "0",
      LOG_LEVEL: "debug",
    },
    () => JSON.stringify(topology),
  );
  if (!result.ok) throw new Error(JSON.stringify(result.problems));
  return result.config;
}

/** The headers of a call signed as the edge signs it. */
export function signed(
  method: string,
  path: string,
  body: string,
  changes: CallInit["sign"] = {},
): Record<string, string> {
  const call = {
    method,
    path,
    bodySha256: createHash("sha256").update(body).digest("hex"),
    // The cell refuses what was signed before it started; it may have started within this millisecond.
    timestampMs: changes.timestampMs ?? Date.now(),
    nonce: changes.nonce ?? base62(randomBytes(22), 22),
    keyId: "k1",
    cell: changes.cell ?? cellId,
  };
  const signature = createHmac("sha256", Buffer.from(key, "hex"))
    .update(signatureInput(call))
    .digest("hex");
  return {
    "content-type": "application/json",
    [signatureHeaders.keyId]: call.keyId,
    [signatureHeaders.timestamp]: String(call.timestampMs),
    [signatureHeaders.nonce]: call.nonce,
    [signatureHeaders.bodyHash]: call.bodySha256,
    [signatureHeaders.signature]: signature,
  };
}

/**
 * The status of a signed call sent exactly once: Node's `fetch` repeats a call that was answered 421 (Fetch standard,
 * HTTP-network-or-cache fetch), and a repeated signature is refused.
 */
export function statusOnce(
  cell: TestCell,
  method: string,
  path: string,
  body: unknown,
): Promise<number> {
  const text = JSON.stringify(body);
  return new Promise((resolve, reject) => {
    const headers = { ...signed(method, path, text), "content-length": Buffer.byteLength(text) };
    const outgoing = request(`${cell.url}${path}`, { method, headers }, (message) => {
      message.resume();
      resolve(message.statusCode ?? 0);
    });
    outgoing.on("error", reject);
    outgoing.end(text);
  });
}

let turns = 0;

export interface TestTurn extends Record<string, unknown> {
  readonly turnId: string;
  readonly attempt: number;
}

/** A stateless, streamed chat turn, unless told otherwise. */
export function aTurn(
  changes: Record<string, unknown> = {},
  rendering: Record<string, unknown> = {},
): TestTurn {
  turns += 1;
  return {
    v: 1,
    turnId: `turn_eu_test_${turns}`,
    lane: "stateless",
    tenant: "acme",
    jurisdiction: "eu",
    cell: cellId,
    conversationId: null,
    incarnation: 1,
    attempt: 1,
    requestId: `req_${turns}`,
    priority: "interactive",
    deadlineMs: Date.now() + 20_000,
    affinity: { homeShard: null, key: "affinity" },
    rendering: {
      api: "chat",
      stream: true,
      includeUsage: false,
      publicId: "chatcmpl_1",
      createdAtSeconds: 1,
      model,
      itemIdStem: "stem",
      echo: {},
      ...rendering,
    },
    engine: {
      path: "chat/completions",
      model,
      body: { messages: [{ role: "user", content: "hi" }] },
      promptTokensEstimate: 2,
      completionTokensMax: null,
    },
    resume: null,
    hop: 0,
    ...changes,
  };
}

export function aDurableTurn(
  changes: Record<string, unknown> = {},
  rendering: Record<string, unknown> = {},
): TestTurn {
  return aTurn({ lane: "durable", conversationId: "conv_eu_1", ...changes }, rendering);
}

/** The parts of a cell's stream. */
export interface ReadStream {
  readonly frames: readonly { readonly seq: number; readonly data: string }[];
  readonly outcome: TurnOutcome | null;
  /** Index in `frames` from which on they stood after the outcome. */
  readonly terminalFrom: number;
  readonly text: string;
}

export function readStreamText(text: string): ReadStream {
  const frames: { seq: number; data: string }[] = [];
  let outcome: TurnOutcome | null = null;
  let terminalFrom = -1;
  for (const block of text.split("\n\n")) {
    if (block.startsWith("id: ")) {
      const seq = Number(/^id: (\d+)/.exec(block)?.[1]);
      frames.push({ seq, data: /^data: (.*)$/m.exec(block)?.[1] ?? "" });
    } else if (block.startsWith(outcomeBlockStart)) {
      outcome = parseTurnOutcome(block.slice(outcomeBlockStart.length + "data: ".length));
      terminalFrom = frames.length;
    }
  }
  return { frames, outcome, terminalFrom, text };
}

export async function readStream(response: Response): Promise<ReadStream> {
  return readStreamText(await response.text());
}

/** What a client of chat completions would read. */
export function contentOf({ frames }: ReadStream): string {
  return frames
    .filter(({ data }) => data.startsWith("{"))
    .map(({ data }) => JSON.parse(data) as { choices?: { delta?: { content?: string } }[] })
    .map((value) => value.choices?.[0]?.delta?.content ?? "")
    .join("");
}

/** Polls until `isTrue`, or fails after 5 s. */
export async function until(isTrue: () => boolean | Promise<boolean>): Promise<void> {
  const endMs = Date.now() + 5_000;
  while (!(await isTrue())) {
    if (Date.now() > endMs) throw new Error("it did not become true within 5 s");
    await new Promise((resolve) => {
      setTimeout(resolve, 10);
    });
  }
}

/** The shard that ran it, from the outcome. */
export function engineOf(cell: TestCell, shard: string | null): FakeEngine {
  const engine = cell.engines[Number(shard?.split("-").at(-1))];
  if (engine === undefined) throw new Error(`no engine of ${shard}`);
  return engine;
}

/** The engine that turns without a home go to, and the other. */
export async function rankedEngines(cell: TestCell): Promise<readonly [FakeEngine, FakeEngine]> {
  const { outcome } = await readStream(await cell.put(aTurn()));
  const first = engineOf(cell, outcome?.shard ?? null);
  const second = cell.engines.find((engine) => engine !== first);
  if (second === undefined) throw new Error("one engine only");
  for (const engine of cell.engines) engine.requests.length = 0;
  return [first, second];
}
