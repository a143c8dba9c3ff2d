import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import OpenAI from "openai";
import postgres from "postgres";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { killAll, startDev, until } from "./dev-process.ts";
import type { DevFile, DevProcess } from "./dev-process.ts";

/**
 * A region's database is away while clients go on: no request fails, and afterwards every row is there, once. The target
 * is an outage of 60 s; this walk keeps it at 10 s, which is past every timeout of the cell's database client and several
 * of the outbox's retries.
 */
const model = "sim/llama-3.1-8b-instruct";
const region = "us-east-1";
const outageMs = 10_000;
/** The target: drained within 30 s of the database's return. */
const drainedMsMax = 30_000;
const restartMsMax = 60_000;
/** Clients that go on at the same time, each in a conversation of its own. */
const clientCount = 4;

/** What one client was answered: its conversation, and each prompt that it got an answer to. */
interface Talk {
  readonly conversation: string;
  readonly prompts: string[];
  readonly failures: string[];
}

interface ItemRow {
  readonly conversation_id: string;
  readonly seq: number;
  readonly item_id: string;
  readonly payload: string;
}

let system: DevProcess;
let folder: string;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "meridian-outage-"));
  system = await startDev(folder);
});
afterAll(async () => {
  system.signal("SIGINT");
  await system.ended;
  killAll([system]);
  rmSync(folder, { recursive: true, force: true });
});

function databaseIn(file: DevFile) {
  const found = file.databases.find((database) => database.region === region);
  if (found === undefined) throw new Error(`no database of ${region}`);
  return found;
}

function client(): OpenAI {
  const { edge, keys } = system.file();
  return new OpenAI({ baseURL: `${edge.url}/v1`, apiKey: keys["us"] ?? "", maxRetries: 0 });
}

async function query<Row extends object>(text: string, parameters: string[]): Promise<Row[]> {
  const sql = postgres(databaseIn(system.file()).url, { max: 1, connect_timeout: 5 });
  try {
    return [...(await sql.unsafe<Row[]>(text, parameters))];
  } finally {
    await sql.end({ timeout: 1 });
  }
}

/** Whether the database answers within a second. */
async function isAnswering(): Promise<boolean> {
  const asked = query("select 1", []).then(
    () => true,
    () => false,
  );
  return Promise.race([asked, wait(1_000, false)]);
}

let asked = 0;

/** One turn of a conversation, streamed or whole; what failed is noted. */
async function take(talk: Talk): Promise<void> {
  asked += 1;
  const number = asked;
  const input = `prompt-${number}. [[tokens:6]]`;
  const { conversation } = talk;
  try {
    const request = { model, input, conversation };
    if (number % 2 === 0) {
      const answer = await client().responses.create(request);
      if (answer.status !== "completed") throw new Error(String(answer.status));
    } else {
      const events = await client().responses.create({ ...request, stream: true });
      const kinds: string[] = [];
      for await (const { type } of events) kinds.push(type);
      if (kinds.at(-1) !== "response.completed") throw new Error(kinds.at(-1) ?? "nothing");
    }
    talk.prompts.push(`prompt-${number}.`);
  } catch (error) {
    talk.failures.push(error instanceof Error ? error.message : String(error));
  }
}

/** Clients that begin conversations and go on in them until `isOver`. */
async function talkUntil(isOver: () => boolean): Promise<readonly Talk[]> {
  const talks: Talk[] = [];
  async function goOn(): Promise<void> {
    while (!isOver()) {
      const made = await client().conversations.create({});
      const talk: Talk = { conversation: made.id, prompts: [], failures: [] };
      talks.push(talk);
      for (let turn = 0; turn < 3 && !isOver(); turn += 1) await take(talk);
    }
  }
  await Promise.all(Array.from({ length: clientCount }, goOn));
  return talks;
}

/** The items of each of these conversations, in one question: the embedded database answers one at a time. */
async function itemsOf(talks: readonly Talk[]): Promise<readonly (readonly ItemRow[])[]> {
  const rows = await query<ItemRow>(
    `select conversation_id, seq::int, item_id, payload from items
     where conversation_id in (select jsonb_array_elements_text($1::text::jsonb)) order by seq`,
    [JSON.stringify(talks.map(({ conversation }) => conversation))],
  );
  return talks.map((talk) => rows.filter((row) => row.conversation_id === talk.conversation));
}

/** Nothing lost, nothing twice, in order: a user's item and an answer for each turn. */
async function expectWhole(talks: readonly Talk[]): Promise<void> {
  let missing = 0;
  const isDrained = await until(async () => {
    // A database that has just come back closes the connections of those that gave up.
    const found = await itemsOf(talks).catch(() => []);
    missing = turnsOf(talks) * 2 - found.flat().length;
    return missing <= 0;
  }, drainedMsMax);
  expect({ isDrained, missing }).toEqual({ isDrained: true, missing: 0 });
  for (const [index, items] of (await itemsOf(talks)).entries()) {
    const prompts = talks[index]?.prompts ?? [];
    expect(items).toHaveLength(prompts.length * 2);
    expect(items.map(({ seq }) => seq - (items[0]?.seq ?? 0))).toEqual([...items.keys()]);
    expect(new Set(items.map((item) => item.item_id)).size).toBe(items.length);
    for (const [turn, prompt] of prompts.entries()) {
      expect(items[turn * 2]?.payload).toContain(prompt);
      expect(items[turn * 2 + 1]?.payload).toContain('"assistant"');
    }
  }
}

async function usageCount(): Promise<number> {
  const [row] = await query<{ count: number }>(
    "select count(distinct turn_id)::int as count from usage having count(*) = count(distinct turn_id)",
    [],
  );
  return row?.count ?? -1;
}

const failuresOf = (talks: readonly Talk[]) => talks.flatMap(({ failures }) => failures);
const turnsOf = (talks: readonly Talk[]) => talks.flatMap(({ prompts }) => prompts).length;

describe("a region's database", () => {
  it("hangs under traffic: nobody notices, and every row is there afterwards, once", async () => {
    const before = await usageCount();
    const earlier: Talk = { conversation: "", prompts: [], failures: [] };
    const talk = { ...earlier, conversation: (await client().conversations.create({})).id };
    await take(talk);
    await expectWhole([talk]);

    const pid = databaseIn(system.file()).pid ?? 0;
    process.kill(pid, "SIGSTOP");
    let talks: readonly Talk[];
    try {
      const endsAtMs = Date.now() + outageMs;
      expect(await isAnswering()).toBe(false);
      // A conversation from before goes on, too.
      const [, others] = await Promise.all([take(talk), talkUntil(() => Date.now() > endsAtMs)]);
      talks = others;
      expect(await isAnswering()).toBe(false);
    } finally {
      process.kill(pid, "SIGCONT");
    }
    expect(await until(isAnswering, drainedMsMax)).toBe(true);
    expect(failuresOf([talk, ...talks])).toEqual([]);
    expect(turnsOf(talks)).toBeGreaterThan(clientCount * 2);
    await expectWhole([talk, ...talks]);
    const turns = turnsOf([talk, ...talks]);
    expect(await until(async () => (await usageCount()) === before + turns, drainedMsMax)).toBe(
      true,
    );
  });

  it("is killed under traffic and comes back: the same", async () => {
    const before = await usageCount();
    const { pid } = databaseIn(system.file());
    const isBack = (): boolean => {
      const now = databaseIn(system.file()).pid;
      return now !== undefined && now !== pid;
    };
    let isOver = false;
    const talking = talkUntil(() => isOver);
    process.kill(pid ?? 0, "SIGKILL");
    expect(await until(isBack, restartMsMax)).toBe(true);
    // And a while with the new one.
    expect(await until(isAnswering, restartMsMax)).toBe(true);
    isOver = true;
    const talks = await talking;
    expect(failuresOf(talks)).toEqual([]);
    expect(turnsOf(talks)).toBeGreaterThan(0);
    await expectWhole(talks);
    const wanted = before + turnsOf(talks);
    expect(await until(async () => (await usageCount()) === wanted, drainedMsMax)).toBe(true);
  });
});
