import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { vllmAbilities } from "#shared/config/engine-abilities.ts";
import { createSageMaker, openSageMaker } from "#regional/backends/sagemaker/sagemaker.ts";
import type { Engine, EngineCall } from "#regional/ports/engine.ts";
import type { ShardFailure } from "#shared/conversation/turn-failure.ts";
import type { EngineEvent } from "#shared/protocol/engine-event.ts";
import type { ShardId } from "#shared/residency/brands.ts";
import {
  deltaChunk,
  refuses,
  says,
  startFakeEngine,
  usageChunk,
} from "#test/support/fake-engine.ts";
import type { FakeEngine } from "#test/support/fake-engine.ts";
import { refusesAs, startFakeSageMaker, streamException } from "#test/support/fake-sagemaker.ts";
import type { FakeSageMaker } from "#test/support/fake-sagemaker.ts";

let container: FakeEngine;
let service: FakeSageMaker;
let engine: Engine;
let nowMs = 0;

beforeEach(async () => {
  nowMs = 1_000_000;
  container = await startFakeEngine();
  service = await startFakeSageMaker(container);
  engine = createSageMaker({
    shard: "eu-west-1a/s-0" as ShardId,
    client: openSageMaker({
      region: "eu-west-1",
      endpoint: service.url,
      credentials: { accessKeyId: "AKIA", secretAccessKey: "secret" },
    }),
    endpointName: "llama",
    inferenceComponent: "llama-copy",
    engineModel: "m",
    abilities: vllmAbilities,
    cacheSalt: () => "5".repeat(64),
    prefixId: (tenant, affinityKey) => `${tenant}-${affinityKey}`,
    clock: { nowMs: () => nowMs, every: () => () => {}, after: () => () => {} },
  });
});
afterEach(async () => {
  engine.close();
  await service.close();
  await container.close();
});

const aCall: EngineCall = {
  path: "chat/completions",
  body: { messages: [{ role: "user", content: "Hi" }] },
  tenant: "acme",
  jurisdiction: "eu",
  affinityKey: "k1",
  priority: "interactive",
  requestId: "req_1",
  traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
};

async function run(call = aCall) {
  const events: EngineEvent[] = [];
  const failure = await engine.run(
    call,
    { events: (more) => void events.push(...more), document: () => {}, room: () => null },
    new AbortController().signal,
  );
  const text = events.map((event) => (event.kind === "delta" ? (event.text ?? "") : "")).join("");
  return { failure, events, text };
}

describe("a call to a SageMaker endpoint", () => {
  it("names endpoint, component, conversation and request, and nothing else of ours", async () => {
    await run();
    const [seen] = service.invocations;
    expect(seen?.path).toBe("/endpoints/llama/invocations-response-stream");
    expect(seen?.headers).toMatchObject({
      "x-amzn-sagemaker-inference-component": "llama-copy",
      "x-amzn-sagemaker-prefix-aware-id": "acme-k1",
      "x-amzn-sagemaker-custom-attributes": `request-id=req_1;traceparent=${aCall.traceparent}`,
      "x-amzn-sagemaker-accept": "text/event-stream",
    });
    expect(seen?.headers.authorization).toContain("/eu-west-1/sagemaker/aws4_request");
  });

  const refusals: readonly (readonly [string, number, object, ShardFailure])[] = [
    ["ModelNotReadyException", 429, {}, { reason: "cold", status: 429 }],
    ["ThrottlingException", 400, {}, { reason: "saturated", status: 400 }],
    ["ValidationError", 400, {}, { reason: "unexpectedStatus", status: 400 }],
    ["AccessDeniedException", 403, {}, { reason: "unexpectedStatus", status: 403 }],
    ["InternalFailure", 500, {}, { reason: "serverError", status: 500 }],
    ["ServiceUnavailable", 503, {}, { reason: "serverError", status: 503 }],
    ["InternalDependencyException", 530, {}, { reason: "serverError", status: 530 }],
    [
      "ModelError",
      424,
      { OriginalStatusCode: 503, OriginalMessage: "busy" },
      { reason: "saturated", status: 503 },
    ],
    ["ModelError", 424, { OriginalStatusCode: 500 }, { reason: "serverError", status: 500 }],
    ["ModelError", 424, {}, { reason: "serverError", status: 500 }],
    [
      "ModelError",
      424,
      { OriginalStatusCode: 400, OriginalMessage: "maximum context length is 10 tokens" },
      { reason: "clientFault", status: 400, fault: { code: "context_length_exceeded" } },
    ],
  ];
  it.each(refusals)(
    "is sent once, refused with %s %i %o",
    async (name, status, fields, failure) => {
      service.service = refusesAs(name, status, fields);
      expect((await run()).failure).toStrictEqual(failure);
      expect(service.invocations).toHaveLength(1);
      expect(container.requests).toHaveLength(0);
    },
  );

  it("is refused before it is sent when it is larger than the service takes", async () => {
    const content = "x".repeat(6 * 1024 * 1024);
    const { failure } = await run({ ...aCall, body: { messages: [{ role: "user", content }] } });
    expect(failure).toStrictEqual({
      reason: "clientFault",
      status: 413,
      fault: { code: "body_too_large" },
    });
    expect(service.invocations).toHaveLength(0);
  });
});

describe("a SageMaker stream", () => {
  it.each([
    ["ModelStreamError", { Message: "x", ErrorCode: "ModelInvocationTimeExceeded" }],
    ["InternalStreamFailure", { Message: "x" }],
    ["SomethingNew", { Message: "x" }],
  ])("that ends with %s has broken off", async (name, body) => {
    container.answer = refuses(200, deltaChunk("Hel"), { "content-type": "text/event-stream" });
    service.tail = streamException(name, body);
    const { failure, text } = await run();
    expect(text).toBe("Hel");
    expect(failure).toStrictEqual({ reason: "cut" });
  });

  it("that ends inside a frame has broken off", async () => {
    container.answer = refuses(200, deltaChunk("Hel"), { "content-type": "text/event-stream" });
    service.tail = streamException("InternalStreamFailure", {}).subarray(0, 20);
    expect((await run()).failure).toStrictEqual({ reason: "cut" });
  });

  it("of JSON lines is read like one of events", async () => {
    const lines = (deltaChunk("Grüße 🙂") + deltaChunk("", "stop") + usageChunk)
      .replaceAll("data: ", "")
      .replaceAll("\n\n", "\n");
    container.answer = refuses(200, lines, { "content-type": "application/jsonlines" });
    const { events, failure, text } = await run();
    expect(text).toBe("Grüße 🙂");
    expect(failure).toBeNull();
    expect(events.at(-1)).toStrictEqual({ kind: "done" });
  });

  it("of JSON lines without a finish reason is not taken for a whole answer", async () => {
    const line = deltaChunk("Hel").replace("data: ", "");
    container.answer = refuses(200, line, { "content-type": "application/jsonlines" });
    const { events } = await run();
    expect(events.some(({ kind }) => kind === "done")).toBe(false);
  });
});

describe("what is known of a SageMaker endpoint", () => {
  it("is what its last prompt told, for ten seconds; no prompt is spent on the question", async () => {
    expect(await engine.probe(1_000)).toStrictEqual({ ok: true });
    service.service = refusesAs("ValidationError", 400);
    await run();
    expect(await engine.probe(1_000)).toStrictEqual({ ok: false, reason: "status400" });
    nowMs += 10_000;
    expect(await engine.probe(1_000)).toStrictEqual({ ok: true });
    service.service = null;
    container.answer = says("Hello");
    await run();
    expect(await engine.probe(1_000)).toStrictEqual({ ok: true });
    expect(service.invocations).toHaveLength(2);
  });
});
