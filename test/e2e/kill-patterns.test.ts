import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { killAll, startDev, until } from "./dev-process.ts";
import type { DevProcess } from "./dev-process.ts";
import { areShardsUsed } from "./shards-used.ts";

/**
 * Real processes are killed at many points of running streams while readers leave and come back at random events: what each
 * reader puts together is the journal, byte for byte. 25 streams with 20 readers each: 500 patterns, all from one seed.
 */
const model = "sim/llama-3.1-8b-instruct";
const readersPerStream = 20;

type Victim = "nobody" | "shard" | "cell" | "region" | "worker";
const victims: readonly Victim[] = [
  ...Array<Victim>(4).fill("nobody"),
  ...Array<Victim>(9).fill("shard"),
  ...Array<Victim>(8).fill("cell"),
  ...Array<Victim>(2).fill("region"),
  ...Array<Victim>(2).fill("worker"),
];

/** Mulberry32 (T. Ettinger, public domain): uniform on [0, 1). */
function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let value = Math.imul(state ^ (state >>> 15), 1 | state);
    value = (value + Math.imul(value ^ (value >>> 7), 61 | value)) ^ value;
    return ((value ^ (value >>> 14)) >>> 0) / 4_294_967_296;
  };
}

let system: DevProcess;

beforeAll(async () => {
  // Faults are for the prompts of this test.
  process.env["MERIDIAN_CANARY_SECONDS"] = "0";
  system = await startDev(mkdtempSync(join(tmpdir(), "meridian-patterns-")));
});

afterAll(async () => {
  delete process.env["MERIDIAN_CANARY_SECONDS"];
  system.signal("SIGINT");
  await system.ended;
  killAll([system]);
});

function headers(more: Readonly<Record<string, string>> = {}): Record<string, string> {
  const { keys } = system.file();
  return {
    authorization: `Bearer ${keys["eu"] ?? ""}`,
    "content-type": "application/json",
    ...more,
  };
}

function kill(pid: number | undefined): void {
  if (pid === undefined) throw new Error("the victim is no process of this machine");
  process.kill(pid, "SIGKILL");
}

/** Kills the victim of a turn that `shard` runs. */
function strike(victim: Victim, shard: string): void {
  const { cells, edge, shards } = system.file();
  const cell = cells.find(({ id }) => shard.startsWith(`${id}/`));
  if (victim === "shard") kill(shards.find(({ id }) => id === shard)?.pid);
  if (victim === "cell") kill(cell?.pid);
  if (victim === "region") {
    for (const one of cells) if (one.region === cell?.region) kill(one.pid);
    for (const one of shards) if (one.cell === cell?.id) kill(one.pid);
  }
  // The Worker's process and everything below it, the objects included.
  if (victim === "worker" && edge.pid !== undefined) process.kill(-edge.pid, "SIGKILL");
}

async function isServing(url: string): Promise<boolean> {
  const answer = await fetch(url, { signal: AbortSignal.timeout(2_000) });
  await answer.body?.cancel();
  return answer.ok;
}

/** Whether everything of the EU serves again. */
async function isWhole(): Promise<boolean> {
  const { cells, edge, shards } = system.file();
  const urls = [
    `${edge.url}/healthz`,
    ...cells.map(({ url }) => `${url}/readyz`),
    ...shards.map(({ url }) => new URL("/health", url).href),
  ];
  const checks = await Promise.allSettled([...urls.map(isServing), areShardsUsed(system)]);
  return checks.every((check) => check.status === "fulfilled" && check.value);
}

/** The events of a stream, one text each, as they come; comments are left out. Ends when the connection does, however. */
async function* eventTexts(response: Response): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  let buffer = "";
  try {
    for await (const bytes of response.body ?? []) {
      buffer += decoder.decode(bytes, { stream: true });
      for (let end = buffer.indexOf("\n\n"); end >= 0; end = buffer.indexOf("\n\n")) {
        const block = buffer.slice(0, end + 2);
        buffer = buffer.slice(end + 2);
        if (!block.startsWith(":")) yield block;
      }
    }
  } catch {
    // The connection broke; the reader comes back.
  }
}

function idOf(block: string): number {
  return Number(/^id: (\d+)\n/.exec(block)?.[1] ?? Number.NaN);
}

function isEnd(block: string): boolean {
  return block.includes("data: [DONE]") || block.includes("event: response.completed");
}

interface Reader {
  readonly text: string;
  readonly connections: number;
}

/** Reads a stream by its id, leaving and coming back at random events, until its end or for a minute. */
async function readBackAndForth(path: string, next: () => number): Promise<Reader> {
  const events: string[] = [];
  const deadlineMs = Date.now() + 60_000;
  let connections = 0;
  while (!isEnd(events.at(-1) ?? "") && Date.now() < deadlineMs) {
    // A reader may have lost some of what it had read.
    if (next() < 0.2) events.length = Math.floor(next() * events.length);
    const leaveAfter = next() < 0.5 ? Number.POSITIVE_INFINITY : 1 + Math.floor(next() * 80);
    const abort = new AbortController();
    const position = events.length === 0 ? {} : { "last-event-id": String(events.length) };
    connections += 1;
    let taken = 0;
    try {
      const response = await fetch(`${system.file().edge.url}${path}`, {
        headers: headers(position),
        signal: abort.signal,
      });
      if (response.status !== 200) await response.body?.cancel();
      else {
        for await (const block of eventTexts(response)) {
          if (idOf(block) !== events.length + 1) {
            return { text: `${events.join("")}GAP before ${block}`, connections };
          }
          events.push(block);
          taken += 1;
          if (taken >= leaveAfter) break;
        }
      }
    } catch {
      // The edge is down.
    }
    abort.abort();
    await wait(taken === 0 ? 250 : 5);
  }
  return { text: events.join(""), connections };
}

/** One stream whose victim dies at a random event, with its readers. */
async function runPattern(victim: Victim, seed: number) {
  const next = random(seed);
  const isResponse = next() < 0.4;
  const content = `Pattern ${seed} [[tokens:${150 + Math.floor(next() * 150)}]]`;
  const body = isResponse
    ? { model, input: content, stream: true }
    : { model, messages: [{ role: "user", content }], stream: true, store: true };
  const response = await fetch(
    `${system.file().edge.url}/v1/${isResponse ? "responses" : "chat/completions"}`,
    { method: "POST", headers: headers(), body: JSON.stringify(body) },
  );
  const path = `/v1/streams/${response.headers.get("x-meridian-stream") ?? ""}`;
  const shard = response.headers.get("x-meridian-shard") ?? "";
  const killAt = 2 + Math.floor(next() * 140);
  const readers = Array.from({ length: readersPerStream }, (_, index) =>
    readBackAndForth(path, random(seed * 1_000 + index)),
  );
  let events = 0;
  let text = "";
  for await (const block of eventTexts(response)) {
    events += 1;
    text += block;
    if (events === killAt) strike(victim, shard);
  }
  return { status: response.status, text, path, readers: await Promise.all(readers) };
}

describe("500 patterns of deaths and reconnections", () => {
  let connections = 0;

  it.each(victims.map((victim, index) => ({ victim, seed: 7_001 + index })))(
    "$victim dies, seed $seed",
    async ({ victim, seed }) => {
      expect(await until(isWhole, 60_000)).toBe(true);
      const { status, text, path, readers } = await runPattern(victim, seed);
      expect(status).toBe(200);
      const journal = await readBackAndForth(path, () => 1);
      expect(isEnd(journal.text) ? "its end" : journal.text.slice(-400)).toBe("its end");
      // A client of the Worker that died has a part of it; every other one has all.
      if (victim === "worker") expect(journal.text.startsWith(text)).toBe(true);
      else expect(text).toBe(journal.text);
      for (const reader of readers) expect(reader.text).toBe(journal.text);
      connections += readers.reduce((sum, reader) => sum + reader.connections, 0);
    },
  );

  it("were patterns: readers came back many times", () => {
    expect(connections).toBeGreaterThan(2 * victims.length * readersPerStream);
    process.stdout.write(`kill patterns: ${connections} connections of readers\n`);
  });
});
