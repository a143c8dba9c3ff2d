import type { Context, Hono } from "hono";
import type { ConversationScope } from "#shared/conversation/rpc.ts";
import { GatewayError } from "#shared/errors/gateway-error.ts";
import type { ItemRecord } from "#shared/protocol/internal/turn-outcome.ts";
import type { NewItem, ResponsesRequest } from "#shared/protocol/openai/generation-request.ts";
import { isItemReference } from "#shared/protocol/openai/input-items.ts";
import { newItemsToRecords, resolveItemReferences } from "#shared/protocol/openai/items.ts";
import { parseResponsesRequest } from "#shared/protocol/openai/responses-request.ts";
import type { EdgeDeps } from "../ports.ts";
import { factsOf } from "../request-facts.ts";
import type { EdgeEnvironment, RequestFacts } from "../request-facts.ts";
import { runDurable } from "../turns/durable-lane.ts";
import { engineBodyOf } from "../turns/durable-turn.ts";
import { prepareTurn, throwRefusal } from "../turns/prepared-turn.ts";
import type { PreparedTurn } from "../turns/prepared-turn.ts";
import { responseText } from "../turns/response-text.ts";
import { readPosition, resumeStream } from "../turns/resume-stream.ts";
import type { ReaderPosition } from "../turns/resume-stream.ts";
import { runStateless } from "../turns/stateless-lane.ts";
import { itemIdMinter, openClientId, scopeOfRandom } from "../turns/turn-ids.ts";
import { freshPlaces, readIdempotency, readRequest, respond } from "./generate.ts";
import { listParameters, readListQuery, listBody, pageOf } from "./item-lists.ts";
import { mount } from "./route.ts";

const path = "/v1/responses";

/** What a response follows: a stored response, or a conversation that the client names. */
interface Parent {
  readonly scope: ConversationScope;
  /** Null for a conversation as a whole. */
  readonly turnRandom: string | null;
}

async function openParent(
  deps: EdgeDeps,
  facts: RequestFacts,
  request: ResponsesRequest,
): Promise<Parent | null> {
  const { previousResponseId, conversationId } = request;
  if (previousResponseId !== null) {
    return openClientId(deps, facts, previousResponseId, {
      prefix: "resp",
      noun: "The previous response",
      param: "previous_response_id",
    });
  }
  if (conversationId === null) return null;
  const { scope } = await openClientId(deps, facts, conversationId, {
    prefix: "conv",
    noun: "The conversation",
    param: "conversation",
  });
  return { scope, turnRandom: null };
}

/** The history that the response follows; empty without a parent. */
async function readHistory(deps: EdgeDeps, parent: Parent | null): Promise<readonly ItemRecord[]> {
  if (parent === null) return [];
  const read = await deps.openConversation(parent.scope).readContext(parent);
  if (read.kind === "refused") throwRefusal(read.error);
  return read.value;
}

/** An item's id holds the random part of its conversation: `<type>_<conversation:16><turn:12>_<n>`. */
const itemIdPattern = /^(?:msg|fc|rs|fco)_([0-9A-Za-z]{16})[0-9A-Za-z]{12}_[0-9a-z]{1,8}$/;
/** Conversations that one request may refer into besides the one it follows. */
const foreignConversationsMax = 4;

/**
 * Finds items that the parent does not hold in the conversations that their ids name, in the caller's own scope: the AI SDK
 * refers to the items of its last step without naming the response. An id of somebody else names nothing here.
 */
async function findElsewhere(
  deps: EdgeDeps,
  facts: RequestFacts,
  ids: readonly string[],
  found: Map<string, ItemRecord>,
): Promise<void> {
  const missing = ids.filter((id) => !found.has(id));
  const randoms = new Set(missing.map((id) => itemIdPattern.exec(id)?.[1] ?? ""));
  randoms.delete("");
  for (const random of [...randoms].slice(0, foreignConversationsMax)) {
    const scope = await scopeOfRandom(deps.identifiers, facts, random);
    const read = await deps.openConversation(scope).readContext({ scope, turnRandom: null });
    if (read.kind === "refused") continue;
    for (const item of read.value) if (missing.includes(item.id)) found.set(item.id, item);
  }
}

/** The request's items; the history is read only where one of them refers to it. */
async function inputItems(
  deps: EdgeDeps,
  facts: RequestFacts,
  parent: Parent | null,
  request: ResponsesRequest,
): Promise<readonly NewItem[]> {
  const references = request.items.filter(isItemReference);
  const history = references.length > 0 ? await readHistory(deps, parent) : [];
  const found = new Map(history.map((item) => [item.id, item]));
  await findElsewhere(
    deps,
    facts,
    references.map(({ id }) => id),
    found,
  );
  const resolved = resolveItemReferences(request.items, found);
  if (!resolved.ok) throwRefusal(resolved.error);
  return resolved.request;
}

/** Not stored, in no conversation, under no key: nothing is kept, whatever it follows is only read. */
async function runUnstored(
  deps: EdgeDeps,
  facts: RequestFacts,
  prepared: PreparedTurn,
  parent: Parent | null,
  items: readonly NewItem[],
) {
  const history = await readHistory(deps, parent);
  const stem = deps.identifiers.random(12);
  const own = newItemsToRecords(items, itemIdMinter(stem));
  const engine = engineBodyOf(prepared, [...history, ...own]);
  if (!engine.ok) throwRefusal(engine.error);
  const { promptTokensEstimate } = engine;
  const generation = { ...prepared.generation, promptTokensEstimate };
  return runStateless(deps, facts, { ...prepared, generation }, engine.body);
}

/** How long a background response may take when its client does not say, ms: nobody waits for it on a connection. */
const backgroundDeadlineMs = 3_600_000;

/** The request's facts, with a background response's own deadline. */
function durableFacts(
  c: Context<EdgeEnvironment>,
  facts: RequestFacts,
  request: ResponsesRequest,
): RequestFacts {
  const isAsked = c.req.header("x-meridian-deadline-ms") !== undefined;
  if (!request.background || isAsked) return facts;
  return { ...facts, deadlineMs: facts.startedAtMs + backgroundDeadlineMs };
}

async function create(
  deps: EdgeDeps,
  facts: RequestFacts,
  c: Context<EdgeEnvironment>,
): Promise<Response> {
  const { request, body } = await readRequest(c, parseResponsesRequest);
  const prepared = await prepareTurn(deps, facts, {
    api: "responses",
    generation: request,
    bodyBytes: body.bytes.length,
    hasHistory:
      request.previousResponseId !== null ||
      request.conversationId !== null ||
      request.items.some(isItemReference),
    echo: request.echo,
    mayTruncate: request.truncation === "auto",
  });
  const idempotency = await readIdempotency(deps, facts, c, path, body);
  const parent = await openParent(deps, facts, request);
  const items = await inputItems(deps, facts, parent, request);
  if (!request.isStored && request.conversationId === null && idempotency === null) {
    return respond(c, await runUnstored(deps, facts, prepared, parent, items));
  }
  const fresh = freshPlaces(deps, idempotency);
  const answer = await runDurable(deps, durableFacts(c, facts, request), prepared, {
    conversationRandom: parent?.scope.conversationRandom ?? fresh.conversationRandom,
    mode: parent === null ? "create" : "existing",
    parentTurnRandom: parent?.turnRandom ?? null,
    idempotency: idempotency?.claim ?? null,
    isStored: request.isStored,
    isBackground: request.background,
    newItems: (mintItemId) => newItemsToRecords(items, mintItemId),
    forkRandom: fresh.forkRandom,
  });
  return respond(c, answer);
}

function openResponse(deps: EdgeDeps, c: Context<EdgeEnvironment>) {
  return openClientId(deps, factsOf(c), c.req.param("id") ?? "", {
    prefix: "resp",
    noun: "The response",
  });
}

/** Where a reader of the response's events goes on; null when the response itself is asked for. */
function readerPosition(c: Context<EdgeEnvironment>): ReaderPosition | null {
  const param = "starting_after";
  const { stream, [param]: after } = c.req.query();
  if (stream !== undefined && stream !== "true" && stream !== "false") {
    throw new GatewayError("invalid_request", "stream must be true or false.", { param: "stream" });
  }
  if (stream !== "true") {
    if (after === undefined) return null;
    throw new GatewayError("invalid_request", "starting_after needs stream=true.", { param });
  }
  // OpenAI numbers events from 0, the journal from 1.
  return { afterSeq: after === undefined ? 0 : readPosition(after, param) + 1, param };
}

async function retrieve(deps: EdgeDeps, c: Context<EdgeEnvironment>): Promise<Response> {
  const position = readerPosition(c);
  const { scope, turnRandom } = await openResponse(deps, c);
  if (position !== null) {
    const stored = await deps.openConversation(scope).readTurn({ scope, turnRandom });
    if (stored.kind === "refused") throwRefusal(stored.error);
    return respond(c, await resumeStream(deps, factsOf(c), { scope, turnRandom }, position));
  }
  const read = await deps.openConversation(scope).readTurn({ scope, turnRandom });
  if (read.kind === "refused") throwRefusal(read.error);
  return new Response(responseText(read.value), {
    headers: { "content-type": "application/json" },
  });
}

async function cancel(deps: EdgeDeps, c: Context<EdgeEnvironment>): Promise<Response> {
  const { scope, turnRandom } = await openResponse(deps, c);
  const result = await deps.openConversation(scope).cancelTurn({ scope, turnRandom });
  if (result.kind === "refused") throwRefusal(result.error);
  return new Response(responseText(result.value), {
    headers: { "content-type": "application/json" },
  });
}

async function remove(deps: EdgeDeps, c: Context<EdgeEnvironment>): Promise<Response> {
  const { scope, turnRandom } = await openResponse(deps, c);
  const result = await deps.openConversation(scope).deleteTurn({ scope, turnRandom });
  if (result.kind === "refused") throwRefusal(result.error);
  return c.json({ id: c.req.param("id"), object: "response", deleted: true });
}

async function listInput(deps: EdgeDeps, c: Context<EdgeEnvironment>): Promise<Response> {
  const query = readListQuery(c);
  const { scope, turnRandom } = await openResponse(deps, c);
  const read = await deps.openConversation(scope).readTurnInput({ scope, turnRandom });
  if (read.kind === "refused") throwRefusal(read.error);
  return c.json(listBody(pageOf(read.value, query)));
}

/** `POST /v1/responses`, and reading, deleting and listing the input of stored ones. */
export function addResponses(app: Hono<EdgeEnvironment>, deps: EdgeDeps): void {
  mount(app, path, { POST: { run: (c) => create(deps, factsOf(c), c) } });
  mount(app, `${path}/:id`, {
    GET: {
      query: ["include", "include[]", "stream", "starting_after", "include_obfuscation"],
      run: (c) => retrieve(deps, c),
    },
    DELETE: { run: (c) => remove(deps, c) },
  });
  mount(app, `${path}/:id/cancel`, { POST: { run: (c) => cancel(deps, c) } });
  mount(app, `${path}/:id/input_items`, {
    GET: { query: listParameters, run: (c) => listInput(deps, c) },
  });
}
