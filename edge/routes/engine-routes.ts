import type { Context, Hono } from "hono";
import type { JsonObject } from "#shared/protocol/json.ts";
import { parseCompletionsRequest } from "#shared/protocol/openai/completions-request.ts";
import { parseEmbeddingsRequest } from "#shared/protocol/openai/embeddings-request.ts";
import type { GenerationRequest, ParseResult } from "#shared/protocol/openai/generation-request.ts";
import type { EdgeDeps } from "../ports.ts";
import { factsOf } from "../request-facts.ts";
import type { EdgeEnvironment } from "../request-facts.ts";
import { runDurable } from "../turns/durable-lane.ts";
import { prepareTurn } from "../turns/prepared-turn.ts";
import { runStateless } from "../turns/stateless-lane.ts";
import { freshPlaces, readIdempotency, readRequest, respond } from "./generate.ts";
import { mount } from "./route.ts";

/** An API whose whole input goes to the engine as it is; a turn of it is durable only under an idempotency key. */
interface EngineApi {
  readonly api: "completions" | "embeddings";
  readonly path: string;
  readonly parse: (body: JsonObject) => ParseResult<GenerationRequest>;
}

async function run(deps: EdgeDeps, c: Context<EdgeEnvironment>, api: EngineApi): Promise<Response> {
  const facts = factsOf(c);
  const { request, body } = await readRequest(c, api.parse);
  const prepared = await prepareTurn(deps, facts, {
    api: api.api,
    generation: request,
    bodyBytes: body.bytes.length,
    hasHistory: false,
  });
  const idempotency = await readIdempotency(deps, facts, c, api.path, body);
  if (idempotency === null) {
    return respond(c, await runStateless(deps, facts, prepared, request.engineBody));
  }
  const answer = await runDurable(deps, facts, prepared, {
    ...freshPlaces(deps, idempotency),
    mode: "create",
    parentTurnRandom: null,
    idempotency: idempotency.claim,
    isStored: false,
    newItems: () => [],
  });
  return respond(c, answer);
}

/** `POST /v1/completions` and `POST /v1/embeddings`. */
export function addEngineRoutes(app: Hono<EdgeEnvironment>, deps: EdgeDeps): void {
  const apis: readonly EngineApi[] = [
    { api: "completions", path: "/v1/completions", parse: parseCompletionsRequest },
    { api: "embeddings", path: "/v1/embeddings", parse: parseEmbeddingsRequest },
  ];
  for (const api of apis) mount(app, api.path, { POST: { run: (c) => run(deps, c, api) } });
}
