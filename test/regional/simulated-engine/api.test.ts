import { describe, it } from "vitest";
import {
  aChat,
  aClient,
  anEngine,
  eventsOf,
  contentOf,
  metricOf,
  model,
  post,
  readAll,
  requestsOf,
  until,
} from "./support.ts";

const weather = {
  type: "function" as const,
  function: {
    name: "get_weather",
    parameters: {
      type: "object",
      properties: {
        city: { type: "string" },
        unit: { type: "string", enum: ["c", "f"] },
        days: { type: "integer", minimum: 1, maximum: 3 },
      },
      required: ["city", "unit"],
    },
  },
};

describe("the official client", () => {
  it("gets a whole answer", async ({ expect }) => {
    const client = aClient(await anEngine());
    const answer = await client.chat.completions.create({
      model,
      messages: [{ role: "user", content: "hi [[tokens:50]]" }],
    });
    expect(answer.choices[0]?.message.content).toMatch(/^Simulated text:/u);
    expect(answer.choices[0]?.finish_reason).toBe("stop");
    expect(answer.usage).toMatchObject({ completion_tokens: 50 });
  });
  it("gets the same text streamed, with usage", async ({ expect }) => {
    const client = aClient(await anEngine());
    const messages = [{ role: "user" as const, content: "hi [[tokens:120]]" }];
    const whole = await client.chat.completions.create({ model, messages });
    const stream = await client.chat.completions.create({
      model,
      messages,
      stream: true,
      stream_options: { include_usage: true },
    });
    let text = "";
    let finish: string | null = null;
    let tokens = 0;
    for await (const chunk of stream) {
      text += chunk.choices[0]?.delta.content ?? "";
      finish = chunk.choices[0]?.finish_reason ?? finish;
      tokens = chunk.usage?.completion_tokens ?? tokens;
    }
    expect(text).toBe(whole.choices[0]?.message.content);
    expect({ finish, tokens }).toEqual({ finish: "stop", tokens: 120 });
  });
  it("gets n different choices, whole and streamed alike", async ({ expect }) => {
    const client = aClient(await anEngine());
    const messages = [{ role: "user" as const, content: "hi [[tokens:30]]" }];
    const whole = await client.chat.completions.create({ model, messages, n: 3 });
    const texts = ["", "", ""];
    for await (const chunk of await client.chat.completions.create({
      model,
      messages,
      n: 3,
      stream: true,
    }))
      for (const choice of chunk.choices) texts[choice.index] += choice.delta.content ?? "";
    expect(texts).toEqual(whole.choices.map((choice) => choice.message.content));
    expect(new Set(texts).size).toBe(3);
  });
  it("is cut at max_tokens and at stop strings, which it does not get", async ({ expect }) => {
    const client = aClient(await anEngine());
    const messages = [{ role: "user" as const, content: "hi [[tokens:200]]" }];
    const cut = await client.chat.completions.create({ model, messages, max_completion_tokens: 7 });
    expect(cut.choices[0]?.finish_reason).toBe("length");
    expect(cut.usage?.completion_tokens).toBe(7);
    const whole =
      (await client.chat.completions.create({ model, messages })).choices[0]?.message.content ?? "";
    const stop = whole.slice(60, 70);
    const stopped = await client.chat.completions.create({
      model,
      messages,
      stop: ["never there", stop],
    });
    expect(stopped.choices[0]?.message.content).toBe(whole.slice(0, whole.indexOf(stop)));
    expect(stopped.choices[0]?.finish_reason).toBe("stop");
  });
  it("gets tool calls with arguments that fit, whole and in several deltas", async ({ expect }) => {
    const client = aClient(await anEngine());
    const messages = [{ role: "user" as const, content: "use get_weather please" }];
    const whole = await client.chat.completions.create({ model, messages, tools: [weather] });
    const call = whole.choices[0]?.message.tool_calls?.[0];
    expect(whole.choices[0]).toMatchObject({
      finish_reason: "tool_calls",
      message: { content: null },
    });
    const args = call?.type === "function" ? call.function.arguments : "";
    const parsed = JSON.parse(args) as Record<string, unknown>;
    expect(typeof parsed["city"]).toBe("string");
    expect(["c", "f"]).toContain(parsed["unit"]);
    expect([1, 2, 3]).toContain(parsed["days"]);
    let streamed = "";
    let deltas = 0;
    let name = "";
    for await (const chunk of await client.chat.completions.create({
      model,
      messages,
      tools: [weather],
      stream: true,
    }))
      for (const delta of chunk.choices[0]?.delta.tool_calls ?? []) {
        streamed += delta.function?.arguments ?? "";
        name += delta.function?.name ?? "";
        deltas += 1;
      }
    expect({ name, streamed }).toEqual({ name: "get_weather", streamed: args });
    expect(deltas).toBeGreaterThan(3);
  });
  it("gets a call or none as tool_choice says", async ({ expect }) => {
    const client = aClient(await anEngine());
    const ask = async (
      content: string,
      tool_choice: "none" | "auto" | "required" | { type: "function"; function: { name: string } },
    ) => {
      const answer = await client.chat.completions.create({
        model,
        messages: [{ role: "user", content }],
        tools: [weather],
        tool_choice,
      });
      return {
        calls: answer.choices[0]?.message.tool_calls?.length ?? 0,
        finish: answer.choices[0]?.finish_reason,
      };
    };
    expect(await ask("get_weather", "none")).toEqual({ calls: 0, finish: "stop" });
    expect(await ask("nothing", "auto")).toEqual({ calls: 0, finish: "stop" });
    expect(await ask("nothing", "required")).toEqual({ calls: 1, finish: "tool_calls" });
    expect(await ask("nothing", { type: "function", function: { name: "get_weather" } })).toEqual({
      calls: 1,
      finish: "stop",
    });
    await expect(
      ask("nothing", { type: "function", function: { name: "other" } }),
    ).rejects.toMatchObject({ status: 400 });
  });
  it("gets text after a tool's result", async ({ expect }) => {
    const client = aClient(await anEngine());
    const answer = await client.chat.completions.create({
      model,
      tools: [weather],
      messages: [
        { role: "user", content: "use get_weather" },
        {
          role: "assistant",
          content: null,
          tool_calls: [
            { id: "c1", type: "function", function: { name: "get_weather", arguments: "{}" } },
          ],
        },
        { role: "tool", tool_call_id: "c1", content: "sunny" },
      ],
    });
    expect(answer.choices[0]?.finish_reason).toBe("stop");
  });
  it("gets JSON for json_object and json_schema, streamed too", async ({ expect }) => {
    const client = aClient(await anEngine());
    const messages = [{ role: "user" as const, content: "json" }];
    const object = await client.chat.completions.create({
      model,
      messages,
      response_format: { type: "json_object" },
    });
    expect(JSON.parse(object.choices[0]?.message.content ?? "")).toMatchObject({ simulated: true });
    const schema = {
      type: "object",
      properties: { n: { type: "integer", minimum: 5, maximum: 5 } },
      required: ["n"],
    };
    let text = "";
    for await (const chunk of await client.chat.completions.create({
      model,
      messages,
      stream: true,
      response_format: { type: "json_schema", json_schema: { name: "x", schema } },
    }))
      text += chunk.choices[0]?.delta.content ?? "";
    expect(JSON.parse(text)).toEqual({ n: 5 });
  });
  it("gets logprobs whose bytes are the text", async ({ expect }) => {
    const client = aClient(await anEngine());
    const answer = await client.chat.completions.create({
      model,
      messages: [{ role: "user", content: "hi [[tokens:90]]" }],
      logprobs: true,
      top_logprobs: 3,
    });
    const content = answer.choices[0]?.logprobs?.content ?? [];
    expect(content.length).toBe(90);
    expect(Buffer.from(content.flatMap((one) => one.bytes ?? [])).toString()).toBe(
      answer.choices[0]?.message.content,
    );
    expect(content.every((one) => one.top_logprobs.length === 3 && one.logprob < 0)).toBe(true);
  });
  it("gets embeddings: same text same vector, as floats and as base64, in the dimensions asked for", async ({
    expect,
  }) => {
    const client = aClient(await anEngine());
    const floats = await client.embeddings.create({
      model,
      input: ["one text", "other", "one text"],
      encoding_format: "float",
      dimensions: 64,
    });
    expect(floats.data[0]?.embedding).toEqual(floats.data[2]?.embedding);
    expect(floats.data[0]?.embedding).not.toEqual(floats.data[1]?.embedding);
    expect(floats.data[0]?.embedding.length).toBe(64);
    const base64 = await client.embeddings.create({ model, input: "one text", dimensions: 64 });
    expect(base64.data[0]?.embedding).toEqual(floats.data[0]?.embedding);
    expect(Math.hypot(...(floats.data[0]?.embedding ?? []))).toBeCloseTo(1, 4);
    expect((await client.embeddings.create({ model, input: [[1, 2], [3]] })).data.length).toBe(2);
  });
  it("lists and reads the model", async ({ expect }) => {
    const client = aClient(await anEngine());
    const list = await client.models.list();
    expect(list.data.map((one) => one.id)).toEqual([model]);
    expect((await client.models.retrieve(model)).id).toBe(model);
  });
});

describe("completions", () => {
  it("takes a string, several, and token ids, and echoes", async ({ expect }) => {
    const client = aClient(await anEngine());
    const one = await client.completions.create({
      model,
      prompt: "Once",
      max_tokens: 9,
      echo: true,
    });
    expect(one.choices[0]?.text).toMatch(/^OnceSimulated text:/u);
    const two = await client.completions.create({ model, prompt: ["a", "b"], n: 2 });
    expect(two.choices.map((choice) => choice.index)).toEqual([0, 1, 2, 3]);
    expect(two.usage?.completion_tokens).toBe(64);
    const ids = await client.completions.create({
      model,
      prompt: [1, 2, 3],
      logprobs: 2,
      max_tokens: 4,
    });
    expect(ids.choices[0]?.logprobs?.tokens?.length).toBe(4);
  });
  it("continues a chat by token ids, on another engine, at every border, byte for byte", async ({
    expect,
  }) => {
    const [first, second] = [
      await anEngine({ seed: 1 }),
      await anEngine({ seed: 2, profile: "h100-8b", speed: 100 }),
    ];
    const { text } = await readAll(
      await post(
        `${first.url}/chat/completions`,
        aChat(60, { stream: true, return_token_ids: true }),
      ),
    );
    const events = eventsOf(text);
    const whole = contentOf(text);
    const promptIds = events[0]?.prompt_token_ids ?? [];
    const ids = events.flatMap((event) => event.choices[0]?.token_ids ?? []);
    expect(ids.length).toBe(60);
    let head = "";
    for (const [at, event] of events.slice(1, -1).entries()) {
      head += event.choices[0]?.delta.content ?? "";
      const body = {
        model,
        prompt: [...promptIds, ...ids.slice(0, at + 1)],
        max_tokens: 60 - at - 1,
      };
      if (body.max_tokens === 0) break;
      const rest = (await (await post(`${second.url}/completions`, body)).json()) as {
        choices: { text: string }[];
      };
      expect(head + (rest.choices[0]?.text ?? ""), `border ${at}`).toBe(whole);
    }
  });
  it("continues a chat by continue_final_message at every border", async ({ expect }) => {
    const engine = await anEngine();
    const { text } = await readAll(
      await post(`${engine.url}/chat/completions`, aChat(40, { stream: true })),
    );
    const whole = contentOf(text);
    let head = "";
    for (const event of eventsOf(text)) {
      head += event.choices[0]?.delta.content ?? "";
      if (head === "") continue;
      const chat = aChat(40) as { messages: object[] };
      const messages = [...chat.messages, { role: "assistant", content: head }];
      const rest = await post(`${engine.url}/chat/completions`, {
        model,
        messages,
        continue_final_message: true,
        add_generation_prompt: false,
      });
      const body = (await rest.json()) as { choices: { message: { content: string } }[] };
      expect(head + (body.choices[0]?.message.content ?? "")).toBe(whole);
    }
  });
});

describe("the engine", () => {
  it("counts cached prompt tokens of a second turn, but not across salts", async ({ expect }) => {
    const engine = await anEngine();
    const ask = async (cache_salt: string) => {
      const messages = [{ role: "user", content: "a long prompt ".repeat(60) }];
      const body = (await (
        await post(`${engine.url}/chat/completions`, { model, messages, cache_salt })
      ).json()) as {
        usage: { prompt_tokens: number; prompt_tokens_details: { cached_tokens: number } };
      };
      return body.usage.prompt_tokens_details.cached_tokens;
    };
    expect(await ask("a")).toBe(0);
    expect(await ask("a")).toBeGreaterThan(200);
    expect(await ask("b")).toBe(0);
    expect(await metricOf(engine, "vllm:prefix_cache_hits_total")).toBeGreaterThan(200);
  });
  it("counts an image as 85 tokens or more, and another image changes the answer", async ({
    expect,
  }) => {
    const engine = await anEngine();
    const ask = async (url: string) => {
      const content = [
        { type: "text", text: "look" },
        { type: "image_url", image_url: { url, detail: "low" } },
      ];
      const response = await post(`${engine.url}/chat/completions`, {
        model,
        messages: [{ role: "user", content }],
      });
      return (await response.json()) as {
        usage: { prompt_tokens: number };
        choices: { message: { content: string } }[];
      };
    };
    const one = await ask("data:image/png;base64,AAAA");
    expect(one.usage.prompt_tokens).toBeGreaterThanOrEqual(85);
    expect(one.choices[0]?.message.content).not.toBe(
      (await ask("data:image/png;base64,BBBB")).choices[0]?.message.content,
    );
  });
  it("has vLLM's metrics, health, version, load and load header", async ({ expect }) => {
    const engine = await anEngine();
    const response = await post(`${engine.url}/chat/completions`, aChat(5), {
      headers: { "endpoint-load-metrics-format": "TEXT" },
    });
    expect(response.headers.get("endpoint-load-metrics")).toMatch(
      /^TEXT named_metrics\.kv_cache_usage_perc=[\d.]+, named_metrics\.num_requests_waiting=\d+\.0$/u,
    );
    const metrics = await (await fetch(`${engine.origin}/metrics`)).text();
    for (const name of [
      "num_requests_running",
      "num_requests_waiting",
      "kv_cache_usage_perc",
      "prefix_cache_queries_total",
      "prefix_cache_hits_total",
      "num_preemptions_total",
      "prompt_tokens_total",
      "generation_tokens_total",
      "admission_rejections_total",
      "time_to_first_token_seconds_count",
      "e2e_request_latency_seconds_count",
      "request_queue_time_seconds_count",
      "request_prefill_time_seconds_count",
      "request_decode_time_seconds_count",
    ])
      expect(metrics).toContain(`vllm:${name}{engine="0",model_name="${model}"}`);
    expect(metrics).toContain('finished_reason="stop"} 1');
    expect((await fetch(`${engine.origin}/health`)).status).toBe(200);
    expect(await (await fetch(`${engine.origin}/version`)).json()).toEqual({
      version: "0.32.0-simulated",
    });
    expect(await (await fetch(`${engine.origin}/load`)).json()).toEqual({ server_load: 0 });
  });
  it("aborts when the client leaves and frees slot and blocks", async ({ expect }) => {
    const engine = await anEngine({ profile: "h100-8b" });
    const abort = new AbortController();
    const response = await post(`${engine.url}/chat/completions`, aChat(5_000, { stream: true }), {
      signal: abort.signal,
    });
    const reader = response.body?.getReader();
    await reader?.read();
    expect(await metricOf(engine, "vllm:num_requests_running")).toBe(1);
    abort.abort();
    await until(async () => (await metricOf(engine, "vllm:num_requests_running")) === 0);
    expect(await metricOf(engine, "vllm:kv_cache_usage_perc")).toBe(0);
    const record = (await requestsOf(engine)).find((one) => one.path === "/v1/chat/completions");
    expect(record).toMatchObject({ aborted: true, body: { stream: true } });
    expect(record?.abortedAtMs).toBeGreaterThanOrEqual(record?.startedAtMs ?? Infinity);
    expect(record?.tokens).toBeLessThan(1_000);
  });
  it("is not ready during its cold start", async ({ expect }) => {
    const engine = await anEngine({ coldStartMs: 60_000 });
    expect((await fetch(`${engine.origin}/health`)).status).toBe(503);
    expect((await post(`${engine.url}/chat/completions`, aChat(5))).status).toBe(503);
    await fetch(`${engine.origin}/control/faults`, { method: "DELETE" });
    expect((await fetch(`${engine.origin}/health`)).status).toBe(200);
  });
  it("asks for its key on /v1 only", async ({ expect }) => {
    const engine = await anEngine({ apiKey: "secret" });
    expect((await fetch(`${engine.url}/models`)).status).toBe(401);
    expect(
      (await fetch(`${engine.url}/models`, { headers: { authorization: "Bearer wrong" } })).status,
    ).toBe(401);
    expect(
      (await fetch(`${engine.url}/models`, { headers: { authorization: "Bearer secret" } })).status,
    ).toBe(200);
    expect((await fetch(`${engine.origin}/metrics`)).status).toBe(200);
  });
});

describe("bad requests", () => {
  const user = [{ role: "user", content: "hi" }];
  it.for([
    [{ model: "other", messages: user }, 404],
    [{ model, messages: [] }, 400],
    [{ model, messages: "hi" }, 400],
    [{ model, messages: user, n: 0 }, 400],
    [{ model, messages: user, max_tokens: 0 }, 400],
    [{ model, messages: user, max_tokens: 1_000_000 }, 400],
    [{ model, messages: user, temperature: -1 }, 400],
    [{ model, messages: user, top_p: 2 }, 400],
    [{ model, messages: user, top_logprobs: 3 }, 400],
    [{ model, messages: user, stream_options: { include_usage: true } }, 400],
    [{ model, messages: user, tool_choice: "required" }, 400],
    [{ model, messages: user, continue_final_message: true }, 400],
    [{ model, messages: user, continue_final_message: true, add_generation_prompt: false }, 400],
    [{ model, messages: user, min_tokens: 5, max_tokens: 4 }, 400],
    [{ model, messages: user, cache_salt: "" }, 400],
    [{ model, messages: [{ role: "user", content: "x".repeat(500_000) }] }, 400],
    ["{", 400],
    ["[]", 400],
  ] as const)("answers %j", async ([body, status], { expect }) => {
    const engine = await anEngine();
    const response = await post(`${engine.url}/chat/completions`, body);
    expect(response.status).toBe(status);
    expect(await response.json()).toMatchObject({ error: { code: status, param: null } });
    expect(await metricOf(engine, "vllm:num_requests_running")).toBe(0);
  });
  it("survives paths that are no URL and very long parts", async ({ expect }) => {
    const engine = await anEngine({ contextTokensMax: 400_000 });
    expect((await fetch(`${engine.origin}//`)).status).toBe(404);
    expect((await fetch(`${engine.origin}/%ff?x=%`)).status).toBe(404);
    const content = [
      { type: "text", text: "x".repeat(900_000) },
      { type: "image_url", image_url: { url: `data:image/png;base64,${"A".repeat(5_000_000)}` } },
    ];
    const tools = [{ type: "function", function: { name: "f", description: "y".repeat(200_000) } }];
    const body = { model, messages: [{ role: "user", content }], tools, max_tokens: 2 };
    expect((await post(`${engine.url}/chat/completions`, body)).status).toBe(200);
  });
  it("ignores unknown fields, as vLLM does", async ({ expect }) => {
    const engine = await anEngine();
    expect(
      (await post(`${engine.url}/chat/completions`, aChat(3, { future: { field: 1 } }))).status,
    ).toBe(200);
  });
  it("refuses bodies above 25 MiB, other paths and other methods", async ({ expect }) => {
    const engine = await anEngine();
    const big = await post(`${engine.url}/chat/completions`, "x".repeat(25 * 1024 * 1024 + 1)).then(
      (response) => response.status,
      () => 413,
    );
    expect(big).toBe(413);
    expect((await post(`${engine.url}/other`, {})).status).toBe(404);
    expect((await fetch(`${engine.url}/chat/completions`)).status).toBe(405);
    expect((await fetch(`${engine.origin}/control/other`)).status).toBe(404);
  });
  it("has room for a prompt that just fits", async ({ expect }) => {
    const engine = await anEngine({ contextTokensMax: 40 });
    const ask = (prompt: number[], max_tokens: number) =>
      post(`${engine.url}/completions`, { model, prompt, max_tokens });
    const ids = (count: number) => Array.from({ length: count }, () => 500);
    expect((await ask(ids(39), 1)).status).toBe(200);
    expect((await ask(ids(39), 2)).status).toBe(400);
    const refused = await ask(ids(40), 1);
    expect(await refused.text()).toContain(
      "maximum context length is 40 tokens. However, your request has 40 input tokens",
    );
  });
});
