/** POST /v1/embeddings: vectors that are the same for the same tokens and near for texts that share words. */
import { randomUUID } from "node:crypto";
import type { EngineContext } from "../context.ts";
import { bitsAt, chainHash, hashText } from "../text/hash.ts";
import { EngineError } from "./errors.ts";
import { sendJson, type Exchange } from "./exchange.ts";
import { blockKeys } from "./generation.ts";
import { promptsOf } from "./generation-routes.ts";
import { createModelCheck, parseRequest } from "./route-parts.ts";
import { embeddingRequest } from "./requests.ts";

/** Dimensions when the request names none. */
const dimensionsDefault = 384;
/** Coordinates that each token moves. */
const coordinatesPerToken = 8;

/** Unit vector of a list of tokens: a sum of hashed token directions. */
function embed(ids: readonly number[], model: string, dimensions: number): Float32Array {
  const vector = new Float32Array(dimensions);
  const root = hashText(model);
  for (const id of ids) {
    const hash = chainHash(root, [id]);
    for (let at = 0; at < coordinatesPerToken; at += 1) {
      const bits = bitsAt(hash, at);
      const index = (bits >>> 1) % dimensions;
      vector[index] = (vector[index] ?? 0) + ((bits & 1) === 0 ? 1 : -1);
    }
  }
  const norm = Math.hypot(...vector);
  if (norm === 0) vector[0] = 1;
  else for (let at = 0; at < dimensions; at += 1) vector[at] = (vector[at] ?? 0) / norm;
  return vector;
}

/** Prefill of one input on the model. */
function prefill(
  context: EngineContext,
  exchange: Exchange,
  ids: readonly number[],
): Promise<void> {
  return new Promise((resolve, reject) => {
    const id = context.driver.submit(
      {
        promptTokens: ids.length,
        outputTokens: 0,
        priority: 0,
        keyOfBlock: blockKeys(ids, undefined, () => 0),
      },
      {
        onAdmitted: () => {},
        onToken: () => {},
        onPreempted: () => {},
        onFinished: () => resolve(),
      },
    );
    if (id === "too-large") {
      reject(new EngineError(400, "The input does not fit into the KV cache."));
      return;
    }
    exchange.onAbort(() => {
      context.driver.release(id);
      resolve();
    });
  });
}

/** Embeddings. @throws EngineError for requests that vLLM refuses. */
export async function handleEmbeddings(
  context: EngineContext,
  exchange: Exchange,
  body: unknown,
): Promise<void> {
  const request = parseRequest(embeddingRequest, body);
  createModelCheck(context)(request.model);
  const inputs = promptsOf(request.input);
  const limit = context.options.contextTokensMax;
  let tokens = 0;
  for (const ids of inputs) {
    tokens += ids.length;
    if (ids.length > limit)
      throw new EngineError(
        400,
        `This model's maximum context length is ${limit} tokens. However, your request has ${ids.length} input tokens.`,
      );
  }
  context.metrics.countPrompt(tokens);
  await Promise.all(inputs.map((ids) => prefill(context, exchange, ids)));
  const deviation = exchange.fault?.kind === "wrong" ? "wrong" : "";
  sendJson(exchange.response, 200, {
    id: `embd-${randomUUID()}`,
    object: "list",
    created: Math.floor(Date.now() / 1_000),
    model: context.options.model,
    data: inputs.map((ids, index) => {
      const vector = embed(
        ids,
        context.options.model + deviation,
        request.dimensions ?? dimensionsDefault,
      );
      const embedding =
        request.encoding_format === "base64"
          ? Buffer.from(vector.buffer).toString("base64")
          : [...vector];
      return { object: "embedding", index, embedding };
    }),
    usage: {
      prompt_tokens: tokens,
      total_tokens: tokens,
      completion_tokens: 0,
      prompt_tokens_details: null,
    },
  });
}
