import type { ServerResponse } from "node:http";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createModal } from "#regional/backends/modal.ts";
import { createOpenAiCompatible } from "#regional/backends/openai-compatible.ts";
import { createSageMaker, openSageMaker } from "#regional/backends/sagemaker/sagemaker.ts";
import { createShardLookup } from "#regional/backends/shard-lookup.ts";
import { systemClock } from "#regional/adapters/system-clock.ts";
import type { Engine, EngineCall, EngineSink } from "#regional/ports/engine.ts";
import { plainAbilities, vllmAbilities } from "#shared/config/engine-abilities.ts";
import type { StatedAbilities } from "#shared/config/engine-abilities.ts";
import type { ShardFailure } from "#shared/conversation/turn-failure.ts";
import type { EngineEvent } from "#shared/protocol/engine-event.ts";
import type { JsonObject } from "#shared/protocol/json.ts";
import type { ShardId } from "#shared/residency/brands.ts";
import {
  apartMs,
  cutsAfter,
  deltaChunk,
  hangsAfter,
  openStream,
  refuses,
  says,
  startFakeEngine,
  usageChunk,
} from "#test/support/fake-engine.ts";
import type { EngineAnswer, FakeEngine } from "#test/support/fake-engine.ts";
import { startFakeSageMaker } from "#test/support/fake-sagemaker.ts";
import type { FakeSageMaker } from "#test/support/fake-sagemaker.ts";

const shard = "eu-west-1a/s-0" as ShardId;
const common = {
  shard,
  engineModel: "m",
  cacheSalt: () => "5".repeat(64),
  clock: systemClock,
};
const lookup = createShardLookup({ allowsPrivate: true, onRefused: () => {} });
const prefixId = (tenant: string, affinityKey: string) => `${tenant}-${affinityKey}`;

const vllm: StatedAbilities = { ...vllmAbilities, metrics: "vllm" };

let container: FakeEngine;
let service: FakeSageMaker;
let engine: Engine;

const backends = {
  "openai-compatible": () =>
    createOpenAiCompatible({
      ...common,
      url: container.url,
      credentials: { authorization: "Bearer shard-key" },
      stated: vllm,
      onProbed: () => {},
      lookup,
      onLoad: () => {},
    }),
  modal: () =>
    createModal({
      ...common,
      url: container.url,
      key: "wk-1",
      secret: "ws-1",
      stated: vllm,
      onProbed: () => {},
      prefixId,
      lookup,
    }),
  sagemaker: () =>
    createSageMaker({
      ...common,
      client: openSageMaker({
        region: "eu-west-1",
        endpoint: service.url,
        credentials: { accessKeyId: "AKIA", secretAccessKey: "secret" },
      }),
      endpointName: "llama",
      inferenceComponent: "llama-copy",
      abilities: vllmAbilities,
      prefixId,
    }),
};

beforeEach(async () => {
  container = await startFakeEngine();
  service = await startFakeSageMaker(container);
});
afterEach(async () => {
  engine.close();
  await service.close();
  await container.close();
});

const chat: JsonObject = { messages: [{ role: "user", content: "Hi" }], temperature: 0 };

function aCall(body: JsonObject = chat, path: EngineCall["path"] = "chat/completions"): EngineCall {
  return {
    path,
    body,
    tenant: "acme",
    jurisdiction: "eu",
    affinityKey: "k1",
    priority: "interactive",
    requestId: "req_1",
    traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
  };
}

interface Ran {
  readonly failure: ShardFailure | null;
  readonly events: readonly EngineEvent[];
  readonly documents: readonly JsonObject[];
}

async function run(call = aCall(), signal = new AbortController().signal): Promise<Ran> {
  const events: EngineEvent[] = [];
  const documents: JsonObject[] = [];
  const sink: EngineSink = {
    events: (more) => void events.push(...more),
    document: (body) => void documents.push(body),
    room: () => null,
  };
  return { failure: await engine.run(call, sink, signal), events, documents };
}

function textOf(events: readonly EngineEvent[]): string {
  return events.map((event) => (event.kind === "delta" ? (event.text ?? "") : "")).join("");
}

/** What the turn runner would make of it: the failure, the last invalid event, or a whole answer. */
function verdictOf({ events, failure }: Ran): string {
  const invalid = events.find((event) => event.kind === "invalid");
  if (invalid !== undefined) return `invalid ${invalid.reason}`;
  if (failure !== null) return failure.reason;
  return events.at(-1)?.kind === "done" ? "whole" : "no end";
}

function writes(...parts: readonly (string | Uint8Array)[]): EngineAnswer {
  return async (response: ServerResponse) => {
    openStream(response);
    for (const one of parts) {
      response.write(one);
      await new Promise((resolve) => {
        setTimeout(resolve, apartMs);
      });
    }
    response.end();
  };
}

/** What every backend makes of what its container does. */
const faults: readonly (readonly [string, EngineAnswer, string])[] = [
  ["says all", says("Grü", "ße 🙂", "\r\n[DONE]"), "whole"],
  ["breaks off after its head", cutsAfter(), "cut"],
  ["breaks off inside its answer", cutsAfter("Hel"), "cut"],
  ["answers 500", refuses(500), "serverError"],
  ["answers 429", refuses(429), "saturated"],
  ["answers 401", refuses(401), "unexpectedStatus"],
  ["answers 404", refuses(404), "unexpectedStatus"],
  ["answers 400", refuses(400, '{"error":{"message":"CANARY"}}'), "clientFault"],
  ["answers 422", refuses(422), "clientFault"],
  ["answers 413", refuses(413), "clientFault"],
  ["sends bytes that are no UTF-8", writes(Buffer.from([0x64, 0xff, 0xfe])), "invalid"],
  ["sends broken JSON", writes("data: {\n\n"), "invalid json"],
  ["sends an error chunk", writes('data: {"error":{"message":"boom"}}\n\n'), "invalid errorChunk"],
  ["ends without a word", writes(), "invalid empty"],
  ["ends without [DONE]", writes(deltaChunk("Hel", "stop"), usageChunk), "invalid noDone"],
  ["ends inside a character", writes(deltaChunk("a"), Buffer.from([0x3a, 0xf0])), "invalid"],
];

describe.each(Object.entries(backends))("the %s backend", (kind, create) => {
  beforeEach(() => {
    engine = create();
  });

  it.each(faults)("takes a container that %s for what it is", async (_what, answer, verdict) => {
    container.answer = answer;
    expect(verdictOf(await run())).toMatch(new RegExp(`^${verdict}`));
    expect(container.requests).toHaveLength(1);
  });

  it("gives every character of an answer, wherever its bytes are cut", async () => {
    container.answer = says("Grü", "ße 🙂", "\r\n[DONE]");
    const { events } = await run();
    expect(textOf(events)).toBe("Grüße 🙂\r\n[DONE]");
    expect(events).toContainEqual(
      expect.objectContaining({
        kind: "usage",
        usage: expect.objectContaining({ promptTokens: 7 }),
      }),
    );
  });

  it("sends what the gateway sets, and no header or name of the client's", async () => {
    await run();
    const [seen] = container.requests;
    expect(seen?.body).toMatchObject({
      ...chat,
      model: "m",
      stream: true,
      stream_options: { include_usage: true },
      return_token_ids: true,
      cache_salt: "5".repeat(64),
    });
    expect(JSON.stringify(seen?.body)).not.toContain("acme");
  });

  it("ends the container's request at once when it is aborted", async () => {
    container.answer = hangsAfter("Hel");
    const controller = new AbortController();
    const ran = run(aCall(), controller.signal);
    await expect.poll(() => container.requests.length).toBe(1);
    controller.abort();
    await ran;
    await expect.poll(() => container.requests[0]?.isAborted).toBe(true);
  });

  it("reads embeddings as one document", async () => {
    const answer = {
      object: "list",
      model: "m",
      data: [{ object: "embedding", index: 0, embedding: [0.5, -0.5] }],
      usage: { prompt_tokens: 2, total_tokens: 2 },
    };
    container.answer = refuses(200, JSON.stringify(answer));
    const { documents, failure } = await run(aCall({ input: "x" }, "embeddings"));
    expect(failure).toBeNull();
    expect(documents).toHaveLength(1);
    expect(documents[0]).toMatchObject({ data: [{ embedding: [0.5, -0.5] }] });
  });

  it("says that it is unreachable when nobody listens", async () => {
    await container.close();
    if (kind === "sagemaker") await service.close();
    expect((await run()).failure).toStrictEqual({ reason: "unreachable" });
    container = await startFakeEngine();
    service = await startFakeSageMaker(container);
  });

  it("can go on with an answer from its tokens", () => {
    expect(engine.continuationAbility()).toBe("tokens");
  });
});

describe("a Modal server", () => {
  beforeEach(() => {
    engine = backends.modal();
  });

  it("gets its proxy token and the conversation's session, and no key of another kind", async () => {
    await run();
    expect(container.requests[0]?.headers).toMatchObject({
      "modal-key": "wk-1",
      "modal-secret": "ws-1",
      "modal-session-id": "acme-k1",
    });
    expect(container.requests[0]?.headers.authorization).toBeUndefined();
  });

  it("is cold when it answers with the place of a later result, and is not asked there", async () => {
    const location = `${container.url}/chat/completions?__modal_function_call_id=fc-1`;
    container.answer = refuses(303, "", { location });
    expect((await run()).failure).toStrictEqual({ reason: "cold", status: 303 });
    expect(container.requests).toHaveLength(1);
  });

  it("is not cold when it redirects elsewhere", async () => {
    container.answer = refuses(303, "", { location: "https://elsewhere.example.com/" });
    expect((await run()).failure).toStrictEqual({ reason: "unexpectedStatus", status: 303 });
  });
});

describe("a SageMaker endpoint whose container is not known to be vLLM", () => {
  it("gets OpenAI's fields alone, and is not asked to go on", async () => {
    engine = createSageMaker({
      ...common,
      client: openSageMaker({
        region: "eu-west-1",
        endpoint: service.url,
        credentials: { accessKeyId: "AKIA", secretAccessKey: "secret" },
      }),
      endpointName: "llama",
      inferenceComponent: null,
      abilities: plainAbilities,
      prefixId,
    });
    await run();
    const [seen] = container.requests;
    expect(seen?.body).not.toHaveProperty("cache_salt");
    expect(seen?.body).not.toHaveProperty("return_token_ids");
    expect(service.invocations[0]?.headers).not.toHaveProperty(
      "x-amzn-sagemaker-inference-component",
    );
    expect(engine.continuationAbility()).toBe("none");
  });
});
