import type { Context, Hono } from "hono";
import type { ConversationScope } from "#shared/conversation/rpc.ts";
import type { JsonObject } from "#shared/protocol/json.ts";
import { parseChatRequest } from "#shared/protocol/openai/chat-request.ts";
import {
  messagesToItems,
  repeatedHistoryLength,
  toEngineMessages,
} from "#shared/protocol/openai/items.ts";
import type { EdgeDeps } from "../ports.ts";
import { factsOf } from "../request-facts.ts";
import type { EdgeEnvironment, RequestFacts } from "../request-facts.ts";
import { runDurable } from "../turns/durable-lane.ts";
import { prepareTurn, throwRefusal } from "../turns/prepared-turn.ts";
import { runStateless } from "../turns/stateless-lane.ts";
import { openClientId } from "../turns/turn-ids.ts";
import { freshPlaces, readIdempotency, readRequest, respond } from "./generate.ts";
import { mount } from "./route.ts";

const path = "/v1/chat/completions";

/** The messages that the conversation does not hold yet: clients send their whole chat each time. */
async function newMessages(
  deps: EdgeDeps,
  scope: ConversationScope,
  messages: readonly JsonObject[],
): Promise<readonly JsonObject[]> {
  const history = await deps.openConversation(scope).readContext({ scope, turnRandom: null });
  if (history.kind === "refused") throwRefusal(history.error);
  return messages.slice(repeatedHistoryLength(history.value, messages));
}

async function complete(
  deps: EdgeDeps,
  facts: RequestFacts,
  c: Context<EdgeEnvironment>,
): Promise<Response> {
  const { request, body } = await readRequest(c, parseChatRequest);
  const conversationHeader = c.req.header("x-meridian-conversation");
  const prepared = await prepareTurn(deps, facts, {
    api: "chat",
    generation: request,
    bodyBytes: body.bytes.length,
    hasHistory: conversationHeader !== undefined,
  });
  const idempotency = await readIdempotency(deps, facts, c, path, body);
  if (conversationHeader === undefined && idempotency === null && !request.isStored) {
    const messages = toEngineMessages(request.messages);
    const engineBody = { ...request.engineBody, messages };
    return respond(c, await runStateless(deps, facts, prepared, engineBody));
  }
  const fresh = freshPlaces(deps, idempotency);
  const existing =
    conversationHeader === undefined
      ? null
      : await openClientId(deps, facts, conversationHeader, {
          prefix: "conv",
          noun: "The conversation",
          param: "x-meridian-conversation",
        });
  const messages =
    existing === null
      ? request.messages
      : await newMessages(deps, existing.scope, request.messages);
  const answer = await runDurable(deps, facts, prepared, {
    conversationRandom: existing?.scope.conversationRandom ?? fresh.conversationRandom,
    mode: existing === null ? "create" : "existing",
    parentTurnRandom: null,
    idempotency: idempotency?.claim ?? null,
    isStored: request.isStored,
    newItems: (mintItemId) => messagesToItems(messages, mintItemId),
    forkRandom: fresh.forkRandom,
  });
  return respond(c, answer);
}

/** `POST /v1/chat/completions`. */
export function addChatCompletions(app: Hono<EdgeEnvironment>, deps: EdgeDeps): void {
  mount(app, path, { POST: { run: (c) => complete(deps, factsOf(c), c) } });
}
