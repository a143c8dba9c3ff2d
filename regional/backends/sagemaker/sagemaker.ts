import {
  InvokeEndpointCommand,
  InvokeEndpointWithResponseStreamCommand,
  SageMakerRuntimeClient,
} from "@aws-sdk/client-sagemaker-runtime";
import type {
  ResponseStream,
  SageMakerRuntimeClientConfig,
} from "@aws-sdk/client-sagemaker-runtime";
import type { EngineAbilities } from "#shared/config/engine-abilities.ts";
import { continuationAbilityOf } from "#shared/conversation/continuation.ts";
import { choicesOf } from "#shared/conversation/turn-choices.ts";
import { composeEngineBody } from "#shared/conversation/turn-engine-body.ts";
import type { ShardFailure } from "#shared/conversation/turn-failure.ts";
import type { ShardId } from "#shared/residency/brands.ts";
import type { Clock } from "../../ports/clock.ts";
import type { Engine, EngineCall, EngineSink, ProbeResult } from "../../ports/engine.ts";
import { readEmbeddingsAnswer } from "../embeddings-answer.ts";
import { feedStream } from "../feed-stream.ts";
import type { StreamedCall } from "../feed-stream.ts";
import { createJsonLinesReframing } from "./json-lines.ts";
import { classifySageMakerError } from "./sagemaker-failure.ts";

/** Largest payload of an invocation, bytes (SageMaker AI endpoints and quotas: 6 MB; newer pages say 25 MB). */
const payloadBytesMax = 6 * 1024 * 1024;
/** The service ends a call without streaming after 60 s (InvokeEndpoint); its own error should come first. */
const documentTimeoutMs = 70_000;
/** How long what a prompt told of its endpoint is believed, ms; then the next prompt may try. */
const believedMs = 10_000;
/** Time for the service to close its stream after `[DONE]`, ms. */
const closeTimeoutMs = 1_000;

/** How long a connection to the service may take, ms. */
const connectionTimeoutMs = 2_000;

/** A client that sends each prompt once: by default the SDK repeats a call twice, and each is another generation. */
export function openSageMaker(config: SageMakerRuntimeClientConfig): SageMakerRuntimeClient {
  return new SageMakerRuntimeClient({
    requestHandler: { connectionTimeout: connectionTimeoutMs },
    ...config,
    maxAttempts: 1,
  });
}

export interface SageMakerOptions {
  readonly shard: ShardId;
  /** Its retries must be off: each would be another generation. */
  readonly client: SageMakerRuntimeClient;
  readonly endpointName: string;
  readonly inferenceComponent: string | null;
  /** The name that the container knows the model by. */
  readonly engineModel: string;
  /** What the container is known to understand; it cannot be asked through the endpoint. */
  readonly abilities: EngineAbilities;
  readonly cacheSalt: (tenant: string, jurisdiction: string, model: string) => string;
  /** The routing hint of a conversation, keyed, so that it tells nothing of the conversation. */
  readonly prefixId: (tenant: string, affinityKey: string) => string;
  readonly clock: Clock;
}

/**
 * A SageMaker endpoint, or an inference component of one, whose container speaks chat completions at `/invocations` (vLLM,
 * LMI). Parts of its event stream are arbitrary slices of bytes; their clean end says nothing about the answer's.
 */
export function createSageMaker(options: SageMakerOptions): Engine {
  const { abilities, client, clock, engineModel } = options;
  let known: ProbeResult = { ok: true };
  let knownUntilMs = 0;

  function inputFor(call: EngineCall) {
    const body = composeEngineBody(call.path, call.body, {
      engineModel,
      cacheSalt: abilities.cacheSalt
        ? options.cacheSalt(call.tenant, call.jurisdiction, engineModel)
        : null,
      priority: abilities.priority ? call.priority : null,
      hasTokenIds: abilities.tokenIds,
      hasUsageInStream: abilities.usageInStream,
    });
    return {
      EndpointName: options.endpointName,
      ContentType: "application/json",
      Body: Buffer.from(JSON.stringify(body), "utf8"),
      // The only header of ours that reaches the container, at most 1,024 visible characters.
      CustomAttributes: `request-id=${call.requestId};traceparent=${call.traceparent}`,
      PrefixAwareId: options.prefixId(call.tenant, call.affinityKey),
      ...(options.inferenceComponent === null
        ? {}
        : { InferenceComponentName: options.inferenceComponent }),
    };
  }

  type Input = ReturnType<typeof inputFor>;

  async function stream(
    input: Input,
    call: StreamedCall,
    sink: EngineSink,
    signal: AbortSignal,
  ): Promise<ShardFailure | null> {
    const ended = new AbortController();
    const abortSignal = AbortSignal.any([signal, ended.signal]);
    let answer;
    try {
      const command = new InvokeEndpointWithResponseStreamCommand({
        ...input,
        Accept: "text/event-stream",
      });
      answer = await client.send(command, { abortSignal });
    } catch (error) {
      return classifySageMakerError(error);
    }
    if (answer.Body === undefined) return { reason: "invalid", detail: "empty" };
    const parts = readParts(answer.Body);
    let timer: NodeJS.Timeout | undefined;
    // The service closes the stream when the container does; a container that does not is left.
    const leave = (): void => {
      timer = setTimeout(() => ended.abort(), closeTimeoutMs);
      timer.unref();
    };
    const failure = await feedStream(parts, call, sink, leave, createJsonLinesReframing());
    clearTimeout(timer);
    // A stream that is not read to its end holds a connection.
    if (failure !== null) ended.abort();
    return failure;
  }

  async function document(
    input: Input,
    call: EngineCall,
    sink: EngineSink,
    signal: AbortSignal,
  ): Promise<ShardFailure | null> {
    const abortSignal = AbortSignal.any([signal, AbortSignal.timeout(documentTimeoutMs)]);
    try {
      const command = new InvokeEndpointCommand({ ...input, Accept: "application/json" });
      const { Body } = await client.send(command, { abortSignal });
      const answer = readEmbeddingsAnswer(
        Body ?? new Uint8Array(),
        engineModel,
        choicesOf(call.path, call.body),
      );
      if (answer === null) return { reason: "invalid", detail: "shape" };
      sink.document(answer.body, answer.usage);
      return null;
    } catch (error) {
      return classifySageMakerError(error);
    }
  }

  async function run(
    call: EngineCall,
    sink: EngineSink,
    signal: AbortSignal,
  ): Promise<ShardFailure | null> {
    const input = inputFor(call);
    if (input.Body.byteLength > payloadBytesMax) {
      return { reason: "clientFault", status: 413, fault: { code: "body_too_large" } };
    }
    const { path, body } = call;
    const failure =
      path === "embeddings"
        ? await document(input, call, sink, signal)
        : await stream(input, { path, body }, sink, signal);
    if (!signal.aborted) {
      known = judge(failure);
      knownUntilMs = clock.nowMs() + believedMs;
    }
    return failure;
  }

  return {
    shard: options.shard,
    run,
    continuationAbility: () => continuationAbilityOf(abilities),
    abilities: () => ({ abilities, source: "stated" }),
    // An endpoint has no health route: only prompts tell, and each costs.
    probe: () => Promise.resolve(clock.nowMs() < knownUntilMs ? known : { ok: true }),
    close: () => client.destroy(),
  };
}

/** Whether an endpoint that ended a prompt so is up: only an endpoint that cannot be reached or called is not. */
function judge(failure: ShardFailure | null): ProbeResult {
  if (failure?.reason === "unreachable") return { ok: false, reason: "unreachable" };
  if (failure?.reason === "unexpectedStatus") {
    return { ok: false, reason: `status${failure.status}` };
  }
  return { ok: true };
}

/** The container's bytes. @throws when the service says that the stream broke, and when the connection does. */
async function* readParts(stream: AsyncIterable<ResponseStream>): AsyncGenerator<Uint8Array> {
  for await (const { PayloadPart, ModelStreamError, InternalStreamFailure } of stream) {
    if (ModelStreamError !== undefined) throw ModelStreamError;
    if (InternalStreamFailure !== undefined) throw InternalStreamFailure;
    if (PayloadPart?.Bytes !== undefined) yield PayloadPart.Bytes;
  }
}
