import * as z from "zod";
import type { TopologyFile } from "./topology-file.ts";
import { StartError } from "./state-folder.ts";

/** How long a server that was named may take to list its models. */
const namedTimeoutMs = 2_000;
/** How long a server that may not exist is waited for. */
const guessTimeoutMs = 300;
/** Ports that local servers use by default: Ollama, vLLM, llama.cpp, LM Studio (their documentation, 2026). */
export const localServerPorts = [11_434, 8_000, 8_080, 1_234] as const;
/** Context of a model that does not tell its own. */
const contextTokensDefault = 8_192;

const modelsSchema = z.object({
  data: z.array(z.object({ id: z.string(), max_model_len: z.int().min(1).optional() })).max(1_000),
});

/** A model that a running server offers. */
export interface OfferedModel {
  readonly id: string;
  readonly contextTokensMax: number;
}

/** A running OpenAI-compatible server. */
export interface ExternalEngine {
  /** Ends in /v1. */
  readonly url: string;
  readonly models: readonly OfferedModel[];
}

/** The API's base URL: `url` with /v1, written out or not. */
export function engineBaseUrl(url: string): string {
  const trimmed = url.replace(/\/+$/, "");
  return trimmed.endsWith("/v1") ? trimmed : `${trimmed}/v1`;
}

async function listModels(url: string, timeoutMs: number): Promise<readonly OfferedModel[]> {
  const response = await fetch(`${url}/models`, {
    redirect: "manual",
    signal: AbortSignal.timeout(timeoutMs),
  });
  if (response.status !== 200) throw new Error(`it answered ${response.status}`);
  const parsed = modelsSchema.safeParse(await response.json());
  if (!parsed.success) throw new Error("it answered something else than a list of models");
  return parsed.data.data.map((model) => ({
    id: model.id,
    contextTokensMax: model.max_model_len ?? contextTokensDefault,
  }));
}

/** Asks a server for its models. @throws StartError when it does not answer as an OpenAI-compatible server within 2 s. */
export async function readExternalEngine(given: string): Promise<ExternalEngine> {
  const url = engineBaseUrl(given);
  let models: readonly OfferedModel[];
  try {
    models = await listModels(url, namedTimeoutMs);
  } catch (error) {
    const reason = error instanceof Error ? describe(error) : String(error);
    throw new StartError(`--engine: ${url}/models cannot be used: ${reason}.`);
  }
  const usable = models.filter(({ id }) => /^[a-zA-Z0-9][a-zA-Z0-9._/:@-]{0,127}$/.test(id));
  if (usable.length === 0)
    throw new StartError(`--engine: ${url}/models lists no model. Load one there first.`);
  return { url, models: usable };
}

function describe(error: Error): string {
  if (error.name === "TimeoutError") return `no answer within ${namedTimeoutMs / 1_000} s`;
  const { cause } = error;
  return cause instanceof Error ? `${error.message} (${cause.message})` : error.message;
}

/** The base URLs of servers on this machine that answer as OpenAI-compatible ones; asks 127.0.0.1 only, 300 ms each. */
export async function findLocalServers(
  ports: readonly number[] = localServerPorts,
): Promise<readonly string[]> {
  const found = await Promise.all(
    ports.map(async (port) => {
      const origin = `http://127.0.0.1:${port}`;
      const models = await listModels(`${origin}/v1`, guessTimeoutMs).catch(() => []);
      return models.length > 0 ? [origin] : [];
    }),
  );
  return found.flat();
}

/** The topology with the engine's models on every cell, instead of its own models and shards. */
export function serveExternalEngine(file: TopologyFile, engine: ExternalEngine): TopologyFile {
  const models: TopologyFile["models"] = {};
  const shards: TopologyFile["shards"] = {};
  for (const { id, contextTokensMax } of engine.models) {
    // Lists of models do not tell what a model is for; names of embedding models do.
    const isEmbedding = /embed|bge|minilm|(^|\W)e5(\W|$)/i.test(id);
    models[id] = {
      revision: "external",
      contextTokensMax,
      capabilities: isEmbedding
        ? ["embeddings"]
        : ["chat", "completions", "tools", "json", "vision"],
      priceMicroUsdPerMillionTokens: { input: 0, output: 0 },
    };
  }
  for (const cell of Object.keys(file.cells)) {
    for (const [index, { id, contextTokensMax }] of engine.models.entries()) {
      shards[`${cell}/engine-${index}`] = {
        cell,
        model: id,
        // The user named the engine, and it often stands in the user's own network.
        backend: { kind: "openai-compatible", url: engine.url, allowPrivateAddresses: true },
        capacity: { concurrentRequestsMax: 8, kvTokensMax: Math.max(contextTokensMax * 4, 65_536) },
        purchase: "on-demand",
        pricePerHourMicroUsd: 0,
      };
    }
  }
  return { ...file, models, shards };
}
