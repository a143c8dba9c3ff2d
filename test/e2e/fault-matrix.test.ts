import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { killAll, startDev, until } from "./dev-process.ts";
import type { DevProcess } from "./dev-process.ts";
import { readStream, readWhole } from "./read-answer.ts";
import type { Api, ReadAnswer } from "./read-answer.ts";
import { areCellsAtEase, areShardsUsed } from "./shards-used.ts";
import { eventsOf } from "./sse-client.ts";

/**
 * Every fault of the simulated engine, at every place of an answer, streamed and whole, in both APIs: the client gets the
 * answer that the engine gives without the fault, byte for byte and once.
 */
const model = "sim/llama-3.1-8b-instruct";

let system: DevProcess;

beforeAll(async () => {
  // Faults are for the prompts of this test.
  process.env["MERIDIAN_CANARY_SECONDS"] = "0";
  system = await startDev(mkdtempSync(join(tmpdir(), "meridian-faults-")));
});

afterAll(async () => {
  delete process.env["MERIDIAN_CANARY_SECONDS"];
  system.signal("SIGINT");
  await system.ended;
  killAll([system]);
});

function shardUrl(shard: string): string {
  const found = system.file().shards.find(({ id }) => id === shard);
  if (found === undefined) throw new Error(`no shard ${shard}`);
  return found.url;
}

async function control(shard: string, method: string, body?: object): Promise<string> {
  const response = await fetch(new URL("/control/faults", shardUrl(shard)), {
    method,
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    headers: { "content-type": "application/json" },
  });
  return response.text();
}

const schema = {
  type: "object",
  properties: { city: { type: "string" }, note: { type: "string" } },
  required: ["city", "note"],
  additionalProperties: false,
};

function bodyOf(api: Api, content: string): object {
  const messages = [{ role: "user", content }];
  return api === "chat" ? { model, messages } : { model, input: messages };
}

/** What is asked for: text, a tool call, an answer of a JSON schema. */
const prompts = {
  text: (api: Api, words: string) => bodyOf(api, `${words} [[tokens:80]]`),
  tool: (api: Api, words: string) => {
    const called = { name: "get_weather", parameters: schema };
    const tool =
      api === "chat"
        ? { type: "function", function: called }
        : { type: "function", strict: true, ...called };
    return { ...bodyOf(api, words), tool_choice: "required", tools: [tool] };
  },
  schema: (api: Api, words: string) => {
    const format = { name: "city", schema, strict: true };
    const shape =
      api === "chat"
        ? { response_format: { type: "json_schema", json_schema: format } }
        : { text: { format: { type: "json_schema", ...format } } };
    return { ...bodyOf(api, words), ...shape };
  },
} as const;

async function ask(
  api: Api,
  body: object,
  isStreamed: boolean,
): Promise<ReadAnswer & { readonly shard: string }> {
  const { edge, keys } = system.file();
  const path = api === "chat" ? "chat/completions" : "responses";
  const options = api === "chat" ? { stream_options: { include_usage: true } } : {};
  const response = await fetch(`${edge.url}/v1/${path}`, {
    method: "POST",
    headers: { authorization: `Bearer ${keys["eu"] ?? ""}`, "content-type": "application/json" },
    body: JSON.stringify(isStreamed ? { ...body, ...options, stream: true } : body),
  });
  const text = await response.text();
  const read = response.ok && isStreamed ? readStream : readWhole;
  return { ...read(api, text), shard: response.headers.get("x-meridian-shard") ?? "" };
}

/** Faults that strike at a token. */
const placed = ["cut", "clean-end", "error-chunk", "garbage", "bad-json", "huge-line", "stall"];
/** Faults of a whole answer. */
const whole = [
  "refuse",
  "delay",
  "no-done",
  "double-done",
  "split-utf8",
  "html",
  "redirect",
  "wrong-content-type",
  "wrong-model",
  "slow",
  "status-429",
  "status-500",
  "status-503",
];

interface Place {
  readonly name: string;
  readonly prompt: keyof typeof prompts;
  /** Tokens after which the fault strikes; null: inside a character of several tokens, wherever the answer has one. */
  readonly afterTokens: number | null;
}

const start: Place = { name: "before the first token", prompt: "text", afterTokens: 0 };
const places: readonly Place[] = [
  start,
  { name: "after 1 token", prompt: "text", afterTokens: 1 },
  { name: "after 50 tokens", prompt: "text", afterTokens: 50 },
  { name: "inside a character", prompt: "text", afterTokens: null },
  { name: "inside a tool call", prompt: "tool", afterTokens: 6 },
  { name: "inside a JSON schema's answer", prompt: "schema", afterTokens: 6 },
];

interface EngineChunk {
  readonly choices: readonly {
    readonly delta: { readonly content?: string };
    readonly token_ids?: readonly number[];
  }[];
}

/** Tokens before the middle of the first character of two tokens; 0 when the engine's answer to `words` has none. */
async function insideCharacter(words: string): Promise<number> {
  const [shard] = system.file().shards.filter((one) => one.model === model);
  const response = await fetch(`${shard?.url ?? ""}/chat/completions`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ ...prompts.text("chat", words), stream: true, return_token_ids: true }),
  });
  let tokens = 0;
  for (const { data } of eventsOf(await response.text())) {
    if (data === "[DONE]") break;
    const [choice] = (JSON.parse(data) as EngineChunk).choices;
    const count = choice?.token_ids?.length ?? 0;
    if (count > 1 || (count === 1 && (choice?.delta.content ?? "") === "")) return tokens + 1;
    tokens += count;
  }
  return 0;
}

let asked = 0;

/** Words of its own for each run, so that none meets another's, and the place where the fault strikes. */
async function nextRun(place: Place): Promise<{ readonly words: string; readonly at: number }> {
  for (let tries = 0; tries < 100; tries += 1) {
    asked += 1;
    const words = `Harbour number ${asked}`;
    const at = place.afterTokens ?? (await insideCharacter(words));
    if (place.afterTokens !== null || at > 0) return { words, at };
  }
  throw new Error("no answer has a character of two tokens");
}

/** The answer without the fault, and with it. A prompt that went to another shard than before was not struck: the next is. */
async function strike(api: Api, isStreamed: boolean, fault: string, place: Place) {
  for (let tries = 1; ; tries += 1) {
    const run = await strikeOnce(api, isStreamed, fault, place);
    if (run.hasStruck || tries === 5) return run;
  }
}

async function strikeOnce(api: Api, isStreamed: boolean, fault: string, place: Place) {
  // A run is one fault, not one that meets breakers and spent budgets of the faults before it.
  expect(await until(() => areShardsUsed(system), 60_000)).toBe(true);
  expect(await until(() => areCellsAtEase(system), 60_000)).toBe(true);
  const { words, at } = await nextRun(place);
  const body = prompts[place.prompt](api, words);
  const { shard, ...unbroken } = await ask(api, body, isStreamed);
  // The engine's text is the same each time; and a shard that fails no more than one prompt in three stays in use.
  const { shard: again, ...repeated } = await ask(api, body, isStreamed);
  expect(repeated).toEqual(unbroken);
  if (again !== shard) return { unbroken, struck: unbroken, hasStruck: false };
  await control(shard, "POST", { kind: fault, afterTokens: at, count: 1, delayMs: 50 });
  try {
    const { shard: _served, ...struck } = await ask(api, body, isStreamed);
    // A fault that has struck is no longer in the engine's list.
    const hasStruck = !(await control(shard, "GET")).includes(fault);
    return { unbroken, struck, hasStruck };
  } finally {
    await control(shard, "DELETE");
  }
}

describe.each<Api>(["chat", "responses"])("%s", (api) => {
  describe.each([true, false])("streamed: %s", (isStreamed) => {
    for (const place of places) {
      // A stall is seen after 5 s, before the first token after 45 s: once is enough for each API.
      const faults = placed.filter((fault) => fault !== "stall" || place.name === "after 1 token");
      it.each(faults)(`survives %s ${place.name}`, async (fault) => {
        const { unbroken, struck, hasStruck } = await strike(api, isStreamed, fault, place);
        expect(unbroken).toMatchObject({ isWhole: true, errorCode: null, faults: [] });
        expect(hasStruck).toBe(true);
        expect(struck).toEqual(unbroken);
      });
    }
    it.each(whole)("survives %s", async (fault) => {
      const { unbroken, struck, hasStruck } = await strike(api, isStreamed, fault, start);
      expect(unbroken).toMatchObject({ isWhole: true, errorCode: null, faults: [] });
      expect(hasStruck).toBe(true);
      expect(struck).toEqual(unbroken);
    });
  });
});
