import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createOpenAI } from "@ai-sdk/openai";
import { embedMany, generateText, jsonSchema, streamText, tool } from "ai";
import OpenAI from "openai";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startDev } from "../e2e/dev-process.ts";
import type { DevProcess } from "../e2e/dev-process.ts";

const model = "sim/llama-3.1-8b-instruct";
const embeddingModel = "sim/bge-small";

let system: DevProcess;
let client: OpenAI;

beforeAll(async () => {
  system = await startDev(mkdtempSync(join(tmpdir(), "meridian-conformance-")));
  const { edge, keys } = system.file();
  client = new OpenAI({ baseURL: `${edge.url}/v1`, apiKey: keys["eu"] ?? "", maxRetries: 0 });
});

afterAll(async () => {
  system.signal("SIGINT");
  await system.ended;
});

async function collect<T>(events: AsyncIterable<T>): Promise<T[]> {
  const collected: T[] = [];
  for await (const event of events) collected.push(event);
  return collected;
}

const user = (content: string) => [{ role: "user" as const, content }];

describe("the openai package", () => {
  it("lists and finds the models of its jurisdiction", async () => {
    const ids = (await client.models.list()).data.map(({ id }) => id);
    expect(ids).toEqual(expect.arrayContaining([model, embeddingModel]));
    expect((await client.models.retrieve(model)).id).toBe(model);
    await expect(client.models.retrieve("nope")).rejects.toMatchObject({
      status: 404,
      code: "model_not_found",
    });
  });

  it("gets the same chat completion whole and streamed, with usage", async () => {
    const messages = user("Tell me of harbours [[tokens:30]]");
    const whole = await client.chat.completions.create({ model, messages });
    const stream = await client.chat.completions.create({
      model,
      messages,
      stream: true,
      stream_options: { include_usage: true },
    });
    let text = "";
    let finish: string | null = null;
    let completionTokens = 0;
    for await (const chunk of stream) {
      text += chunk.choices[0]?.delta.content ?? "";
      finish = chunk.choices[0]?.finish_reason ?? finish;
      completionTokens = chunk.usage?.completion_tokens ?? completionTokens;
    }
    expect(text).toBe(whole.choices[0]?.message.content);
    expect(finish).toBe("stop");
    expect(completionTokens).toBe(30);
    expect(whole.usage?.completion_tokens).toBe(30);
  });

  it("honours n, max_tokens and stop", async () => {
    const several = await client.chat.completions.create({
      model,
      messages: user("Hi"),
      n: 3,
      max_tokens: 4,
    });
    expect(several.choices.map(({ index, finish_reason: reason }) => [index, reason])).toEqual([
      [0, "length"],
      [1, "length"],
      [2, "length"],
    ]);
    const stopped = await client.chat.completions.create({
      model,
      messages: user("Hi"),
      stop: ["text"],
    });
    expect(stopped.choices[0]?.message.content).not.toContain("text");
  });

  it("calls tools and obeys a JSON schema", async () => {
    const schema = {
      type: "object",
      properties: { city: { type: "string" } },
      required: ["city"],
      additionalProperties: false,
    };
    const called = await client.chat.completions.create({
      model,
      messages: user("What is the weather?"),
      tools: [{ type: "function", function: { name: "get_weather", parameters: schema } }],
      tool_choice: "required",
    });
    const [call] = called.choices[0]?.message.tool_calls ?? [];
    expect(call?.type === "function" && JSON.parse(call.function.arguments)).toHaveProperty("city");
    const shaped = await client.chat.completions.create({
      model,
      messages: user("Name a city"),
      response_format: { type: "json_schema", json_schema: { name: "city", schema, strict: true } },
    });
    expect(JSON.parse(shaped.choices[0]?.message.content ?? "")).toHaveProperty("city");
  });

  it("completes prompts and embeds texts", async () => {
    const completed = await client.completions.create({ model, prompt: "Once", max_tokens: 5 });
    expect(completed.choices[0]?.finish_reason).toBe("length");
    const embedded = await client.embeddings.create({
      model: embeddingModel,
      input: ["one", "two"],
    });
    expect(embedded.data.map(({ index }) => index)).toEqual([0, 1]);
    expect(embedded.data[0]?.embedding.length).toBeGreaterThan(10);
  });

  it("streams responses with gapless sequence numbers and keeps them", async () => {
    const stream = await client.responses.create({
      model,
      input: "Hello",
      instructions: "Be brief",
      stream: true,
    });
    const sequence: number[] = [];
    let text = "";
    let id = "";
    for await (const event of stream) {
      sequence.push(event.sequence_number);
      if (event.type === "response.output_text.delta") text += event.delta;
      if (event.type === "response.completed") id = event.response.id;
    }
    expect(sequence).toEqual(sequence.map((_, index) => index));
    const kept = await client.responses.retrieve(id);
    expect(kept.output_text).toBe(text);
    const items = await client.responses.inputItems.list(id);
    expect(items.data).toHaveLength(1);
    await client.responses.delete(id);
    await expect(client.responses.retrieve(id)).rejects.toMatchObject({ status: 404 });
  });

  it("reads a response's stream again after any of its events", async () => {
    const stream = await client.responses.create({
      model,
      input: "Tell me of quays [[tokens:5]]",
      stream: true,
    });
    const first = await collect(stream);
    const id = first[0]?.type === "response.created" ? first[0].response.id : "";
    for (const [index, { sequence_number: after }] of first.entries()) {
      const again = await client.responses.retrieve(id, { stream: true, starting_after: after });
      expect(await collect(again)).toEqual(first.slice(index + 1));
    }
    await expect(
      client.responses.retrieve(id, { stream: true, starting_after: first.length }),
    ).rejects.toMatchObject({ status: 400, param: "starting_after" });
  });

  it("follows a response, forks from an earlier one, and ends early as incomplete", async () => {
    const first = await client.responses.create({ model, input: "One", metadata: { a: "b" } });
    const second = await client.responses.create({
      model,
      input: "Two",
      previous_response_id: first.id,
    });
    const fork = await client.responses.create({
      model,
      input: "Other",
      previous_response_id: first.id,
    });
    expect(first.metadata).toEqual({ a: "b" });
    expect(second.previous_response_id).toBe(first.id);
    expect(fork.id).not.toBe(second.id);
    const cut = await client.responses.create({ model, input: "Long", max_output_tokens: 16 });
    expect(cut.status).toBe("incomplete");
    expect(cut.incomplete_details?.reason).toBe("max_output_tokens");
  });

  it("goes round with a function call and its output", async () => {
    const tools = [
      {
        type: "function" as const,
        name: "get_time",
        parameters: { type: "object", properties: {} },
        strict: false,
      },
    ];
    const asked = await client.responses.create({
      model,
      input: "Time?",
      tools,
      tool_choice: "required",
    });
    const call = asked.output.find((item) => item.type === "function_call");
    const answered = await client.responses.create({
      model,
      previous_response_id: asked.id,
      input: [{ type: "function_call_output", call_id: call?.call_id ?? "", output: "noon" }],
    });
    expect(answered.output_text.length).toBeGreaterThan(0);
  });

  it("refers to an item of an earlier answer by its id alone, as the AI SDK does", async () => {
    const tools = [
      {
        type: "function" as const,
        name: "get_time",
        parameters: { type: "object", properties: {} },
        strict: false,
      },
    ];
    const asked = await client.responses.create({
      model,
      input: "Time?",
      tools,
      tool_choice: "required",
    });
    const call = asked.output.find((item) => item.type === "function_call");
    const answered = await client.responses.create({
      model,
      input: [
        { role: "user", content: "Time?" },
        { type: "item_reference", id: call?.id ?? "" },
        { type: "function_call_output", call_id: call?.call_id ?? "", output: "noon" },
      ],
    });
    expect(answered.status).toBe("completed");
    const forged = `fc_${"a".repeat(28)}_0`;
    const refused = client.responses.create({
      model,
      input: [{ type: "item_reference", id: forged }],
    });
    await expect(refused).rejects.toMatchObject({ status: 404 });
  });

  it("keeps a conversation on one shard, whose cache finds more with each turn", async () => {
    const conversation = await client.conversations.create({ metadata: { topic: "test" } });
    const shards = new Set<string | null>();
    const cached: number[] = [];
    for (const input of [
      "Please remember that my name is Ada and that I like harbours.",
      "And?",
      "More?",
    ]) {
      const { data, response } = await client.responses
        .create({ model, input, conversation: conversation.id })
        .withResponse();
      shards.add(response.headers.get("x-meridian-shard"));
      cached.push(data.usage?.input_tokens_details.cached_tokens ?? 0);
    }
    expect(shards.size).toBe(1);
    expect(cached[2]).toBeGreaterThan(cached[1] ?? 0);
    const seen: string[] = [];
    for await (const item of client.conversations.items.list(conversation.id, {
      limit: 2,
      order: "asc",
    })) {
      seen.push(item.type);
    }
    expect(seen).toHaveLength(6);
    await client.conversations.delete(conversation.id);
    await expect(client.conversations.retrieve(conversation.id)).rejects.toMatchObject({
      status: 404,
    });
  });

  it("sends stateless prompts with one prompt_cache_key to one shard", async () => {
    const shards = new Set<string | null>();
    for (const content of ["a", "b", "c", "d"]) {
      const { response } = await client.chat.completions
        .create({ model, messages: user(content), max_tokens: 1, prompt_cache_key: "same" })
        .withResponse();
      shards.add(response.headers.get("x-meridian-shard"));
    }
    expect(shards.size).toBe(1);
  });

  it("gets the stored answer, byte for byte, for the same idempotency key", async () => {
    const body = { model, messages: user("Once only") };
    const headers = { "Idempotency-Key": "conformance-1" };
    const first = await client.chat.completions.create(body, { headers }).asResponse();
    const second = await client.chat.completions.create(body, { headers }).asResponse();
    expect(await second.text()).toBe(await first.text());
    const other = client.chat.completions.create({ ...body, n: 1 }, { headers });
    await expect(other).rejects.toMatchObject({ status: 422, code: "idempotency_key_reused" });
  });
});

describe("a shard that misbehaves", () => {
  it.each(["html", "wrong-content-type", "bad-json", "garbage", "clean-end", "cut", "error-chunk"])(
    "never makes a success of %s",
    async (kind) => {
      const { shards } = system.file();
      const controls = shards.map(({ url }) => `${new URL(url).origin}/control/faults`);
      const body = JSON.stringify({ kind, afterTokens: 2 });
      const withoutTokens = JSON.stringify({ kind });
      for (const url of controls) {
        const set = await fetch(url, { method: "POST", body });
        if (!set.ok) await fetch(url, { method: "POST", body: withoutTokens });
      }
      try {
        const asked = client.chat.completions.create({ model, messages: user("Hi [[tokens:9]]") });
        await expect(asked).rejects.toMatchObject({ status: expect.any(Number) });
        const read = async (): Promise<void> => {
          const stream = await client.chat.completions.create({
            model,
            messages: user("Hi"),
            stream: true,
          });
          for await (const _ of stream);
        };
        await expect(read()).rejects.toBeInstanceOf(OpenAI.APIError);
      } finally {
        for (const url of controls) await fetch(url, { method: "DELETE" });
      }
    },
  );
});

describe("the AI SDK", () => {
  const provider = () => {
    const { edge, keys } = system.file();
    return createOpenAI({ baseURL: `${edge.url}/v1`, apiKey: keys["us"] ?? "" });
  };

  it("generates, streams and embeds", async () => {
    const prompt = "Say hello [[tokens:12]]";
    const whole = await generateText({ model: provider().chat(model), prompt, maxRetries: 0 });
    let streamed = "";
    for await (const piece of streamText({ model: provider()(model), prompt, maxRetries: 0 })
      .textStream) {
      streamed += piece;
    }
    expect(whole.text).toContain("Simulated text");
    expect(streamed).toContain("Simulated text");
    const { embeddings } = await embedMany({
      model: provider().textEmbeddingModel(embeddingModel),
      values: ["a", "b"],
      maxRetries: 0,
    });
    expect(embeddings).toHaveLength(2);
  });

  it("sees a tool call", async () => {
    const { toolCalls } = await generateText({
      model: provider().chat(model),
      prompt: "Weather?",
      maxRetries: 0,
      toolChoice: "required",
      tools: {
        weather: tool({
          inputSchema: jsonSchema<{ city: string }>({
            type: "object",
            properties: { city: { type: "string" } },
            required: ["city"],
          }),
        }),
      },
    });
    expect(toolCalls[0]?.toolName).toBe("weather");
  });
});
