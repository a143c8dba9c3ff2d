import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import OpenAI from "openai";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { hasLlamaLibrary } from "#dev/supervisor/gguf-model.ts";
import { tinyModel } from "#test/support/gguf/tiny-model.ts";
import { killAll, runScript, startDev, until } from "./dev-process.ts";
import type { DevProcess } from "./dev-process.ts";
import { areShardsUsed } from "./shards-used.ts";

/**
 * A real engine behind edge, cell and shard: a model of random weights, written here, loaded by llama.cpp. What it says is
 * nonsense, and always the same at temperature 0.
 */
const model = "tiny-random";
/** Long enough that its engine can be killed in the middle, however late its pieces are read: two seconds on one core. */
const answerTokens = 600;
const messages = [{ role: "user" as const, content: "Say something long." }];
const greedy = { model, messages, temperature: 0, max_tokens: answerTokens };

const root = fileURLToPath(new URL("../..", import.meta.url));
const isSkipped = !hasLlamaLibrary(root) && process.env["MERIDIAN_REQUIRE_SERVICES"] !== "1";
if (isSkipped)
  console.warn(
    "SKIPPED: node-llama-cpp is not installed (dev/gguf-engine/README.md); no real engine was tried",
  );

let folder: string;
let system: DevProcess;
const started: DevProcess[] = [];

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "meridian-gguf-"));
  if (isSkipped) return;
  if (!hasLlamaLibrary(root))
    throw new Error("node-llama-cpp is not installed, and MERIDIAN_REQUIRE_SERVICES is 1");
  const file = join(folder, `${model}.gguf`);
  writeFileSync(file, tinyModel());
  // Canaries would be counted with what is counted here.
  process.env["MERIDIAN_CANARY_SECONDS"] = "0";
  system = await startDev(join(folder, "state"), "--gguf", file);
  started.push(system);
});

afterAll(async () => {
  delete process.env["MERIDIAN_CANARY_SECONDS"];
  for (const one of started) {
    one.signal("SIGINT");
    await one.ended;
  }
  killAll(started);
  rmSync(folder, { recursive: true, force: true });
});

function client(jurisdiction = "eu"): OpenAI {
  const { edge, keys } = system.file();
  const apiKey = keys[jurisdiction] ?? "";
  return new OpenAI({ baseURL: `${edge.url}/v1`, apiKey, maxRetries: 0 });
}

async function say(more: object = {}): Promise<string> {
  const answer = await client().chat.completions.create({ ...greedy, ...more, stream: false });
  return answer.choices[0]?.message.content ?? "";
}

interface ListedShard {
  readonly id: string;
  readonly engine: Readonly<Record<string, unknown>> | null;
}

async function shards(): Promise<readonly ListedShard[]> {
  const { edge, keys } = system.file();
  const answer = await fetch(`${edge.url}/admin/v1/shards`, {
    headers: { authorization: `Bearer ${keys["admin"] ?? ""}` },
  });
  return ((await answer.json()) as { data: ListedShard[] }).data;
}

async function metricOf(engineUrl: string, name: string): Promise<number> {
  const text = await (await fetch(new URL("/metrics", engineUrl))).text();
  const line = text.split("\n").find((one) => one.startsWith(`vllm:${name}{`));
  return Number(line?.split(" ").at(-1) ?? Number.NaN);
}

function engineOf(shard: string | null): { readonly url: string; readonly pid: number } {
  const found = system.file().shards.find(({ id }) => id === shard);
  if (found?.pid === undefined) throw new Error(`${shard} is no shard with a process`);
  return { url: found.url, pid: found.pid };
}

describe.skipIf(isSkipped)("a GGUF model", () => {
  test("is found out by asking: what its engine has, and what it has not", async () => {
    const isProbed = await until(async () => {
      const listed = await shards();
      return listed.every(({ engine }) => engine?.["source"] === "probed");
    }, 30_000);
    expect(isProbed).toBe(true);
    const listed = await shards();
    expect(listed).toHaveLength(6);
    for (const { engine } of listed) {
      expect(engine).toEqual({
        source: "probed",
        token_ids: true,
        continue_final_message: true,
        cache_salt: true,
        priority: false,
        load_header: false,
        usage_in_stream: true,
        metrics: "vllm",
      });
    }
  });

  test("answers through edge and cell what it answers itself, whole and streamed", async () => {
    const [first] = system.file().shards;
    const direct = new OpenAI({ baseURL: first?.url ?? "", apiKey: "none", maxRetries: 0 });
    const own = await direct.chat.completions.create({ ...greedy, stream: false });
    const text = own.choices[0]?.message.content ?? "";
    expect(text.length).toBeGreaterThan(answerTokens);

    const whole = await client().chat.completions.create({ ...greedy, stream: false });
    expect(whole.choices[0]?.message.content).toBe(text);
    expect(whole.choices[0]?.finish_reason).toBe("length");
    expect(whole.usage).toMatchObject({
      prompt_tokens: own.usage?.prompt_tokens,
      completion_tokens: answerTokens,
    });

    const stream = await client().chat.completions.create({ ...greedy, stream: true });
    let streamed = "";
    let chunks = 0;
    for await (const chunk of stream) {
      streamed += chunk.choices[0]?.delta.content ?? "";
      chunks += 1;
    }
    expect(streamed).toBe(text);
    expect(chunks).toBeGreaterThan(answerTokens / 2);
  });

  test("samples by seed, and ends before a stop string", async () => {
    const sampled = (seed: number) => say({ temperature: 0.9, seed, max_tokens: 40 });
    const once = await sampled(7);
    expect(await sampled(7)).toBe(once);
    expect(await sampled(8)).not.toBe(once);

    const text = await say({ max_tokens: 60 });
    const stop = text.slice(20, 24);
    expect(await say({ max_tokens: 60, stop })).toBe(text.slice(0, text.indexOf(stop)));
  });

  test("remembers a conversation, in either jurisdiction", async () => {
    for (const jurisdiction of ["eu", "us"]) {
      const own = client(jurisdiction);
      const first = await own.responses.create({ model, input: "Hello", max_output_tokens: 12 });
      const second = await own.responses.create({
        model,
        input: "And then?",
        max_output_tokens: 12,
        previous_response_id: first.id,
      });
      expect(second.usage?.input_tokens).toBeGreaterThan(
        (first.usage?.input_tokens ?? 0) + (first.usage?.output_tokens ?? 0),
      );
    }
  });

  test("is told by name what it cannot be asked for", async () => {
    const n = client().chat.completions.create({ ...greedy, stream: false, n: 2 });
    await expect(n).rejects.toMatchObject({ status: 400, code: "invalid_request" });
    const long = client().chat.completions.create({
      model,
      messages: [{ role: "user", content: "la ".repeat(3_000) }],
      max_tokens: 10,
    });
    await expect(long).rejects.toMatchObject({ status: 400, code: "context_length_exceeded" });
  });

  test("stops computing when its client goes", async () => {
    const { data, response } = await client()
      .chat.completions.create({ ...greedy, max_tokens: 1_500, stream: true })
      .withResponse();
    const { url } = engineOf(response.headers.get("x-meridian-shard"));
    const before = await metricOf(url, "generation_tokens_total");
    for await (const chunk of data) {
      if ((chunk.choices[0]?.delta.content ?? "") !== "") break;
    }
    data.controller.abort();
    const isIdle = await until(
      async () => (await metricOf(url, "num_requests_running")) === 0,
      5_000,
    );
    expect(isIdle).toBe(true);
    expect((await metricOf(url, "generation_tokens_total")) - before).toBeLessThan(1_000);
  });

  test.each([10, 60, 200])(
    "goes on word for word at the other engine when its own is killed after %i pieces",
    async (pieces) => {
      const text = await say();
      const { data, response } = await client()
        .chat.completions.create({ ...greedy, stream: true })
        .withResponse();
      const shard = response.headers.get("x-meridian-shard") ?? "";
      const victim = engineOf(shard);
      const other = engineOf(shard.replace(/\d$/, (engine) => (engine === "0" ? "1" : "0")));
      const promptsBefore = await metricOf(other.url, "prompt_tokens_total");
      let joined = "";
      let seen = 0;
      let finish: string | null = null;
      for await (const chunk of data) {
        const [choice] = chunk.choices;
        joined += choice?.delta.content ?? "";
        finish = choice?.finish_reason ?? finish;
        seen += 1;
        if (seen === pieces) process.kill(victim.pid, "SIGKILL");
      }
      expect(joined).toBe(text);
      expect(finish).toBe("length");
      // The other engine got what had been said as part of its prompt.
      const continued = (await metricOf(other.url, "prompt_tokens_total")) - promptsBefore;
      expect(continued).toBeGreaterThan(pieces);
      expect(continued).toBeLessThan(2 * answerTokens);
      const isBack = await until(async () => {
        const pid = system.file().shards.find(({ id }) => id === shard)?.pid;
        const { engine } = (await shards()).find(({ id }) => id === shard) ?? {};
        const isNew = pid !== undefined && pid !== victim.pid;
        return (
          isNew &&
          engine?.["source"] === "probed" &&
          (await areShardsUsed(system).catch(() => false))
        );
      }, 60_000);
      expect(isBack).toBe(true);
    },
  );
});

describe("npm run dev --gguf that cannot serve", () => {
  test.each([
    ["a file that is no GGUF file", "package.json"],
    ["a file that is not there", "none.gguf"],
  ])("refuses %s", async (_what, file) => {
    const state = join(folder, "refused");
    const { code, output } = await runScript(["dev", "--", "--state", state, "--gguf", file]);
    expect(code).toBe(1);
    expect(output).toContain("is no readable GGUF file");
  });
});
