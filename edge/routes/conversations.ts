import type { Context, Hono } from "hono";
import type { ConversationView } from "#shared/conversation/rpc.ts";
import {
  parseConversationCreate,
  parseConversationUpdate,
  parseItemsCreate,
} from "#shared/protocol/openai/conversation-requests.ts";
import { newItemsToRecords, parseItem } from "#shared/protocol/openai/items.ts";
import { asConversationId, conversationRandomLength } from "#shared/residency/identifiers.ts";
import { mintIdentifier } from "#shared/residency/identifiers.ts";
import type { EdgeDeps } from "../ports.ts";
import { factsOf } from "../request-facts.ts";
import type { EdgeEnvironment } from "../request-facts.ts";
import { throwRefusal } from "../turns/prepared-turn.ts";
import {
  conversationScope,
  identifierScope,
  itemIdMinter,
  openClientId,
} from "../turns/turn-ids.ts";
import { itemStemLength, readIdempotency, readRequest } from "./generate.ts";
import { listBody, listParameters, readListQuery } from "./item-lists.ts";
import { mount } from "./route.ts";

const path = "/v1/conversations";

/** What a client that sends no body has sent. */
const emptyBody = { bytes: new Uint8Array(), text: "" };

function conversationBody(id: string, view: ConversationView) {
  return {
    id,
    object: "conversation",
    created_at: Math.floor(view.createdAtMs / 1000),
    metadata: view.metadata,
  };
}

/** Clients send no body, and then no content type, where all of it is optional. */
function hasBody(request: Request): boolean {
  return request.headers.has("content-type") || request.body !== null;
}

async function create(deps: EdgeDeps, c: Context<EdgeEnvironment>): Promise<Response> {
  const facts = factsOf(c);
  const { body, request } = hasBody(c.req.raw)
    ? await readRequest(c, parseConversationCreate)
    : { body: emptyBody, request: { metadata: {}, items: [] } };
  const idempotency = await readIdempotency(deps, facts, c, path, body);
  const random =
    idempotency?.conversationRandom ?? deps.identifiers.random(conversationRandomLength);
  const id = await mintIdentifier(deps.identifiers, identifierScope(facts), "conv", random);
  const scope = conversationScope(facts, asConversationId(id), random);
  const mint = itemIdMinter(idempotency?.itemStem ?? deps.identifiers.random(itemStemLength));
  const result = await deps.openConversation(scope).create({
    scope,
    idempotency: idempotency?.claim ?? null,
    metadata: request.metadata,
    items: newItemsToRecords(request.items, mint),
    cells: facts.jurisdiction.cells.map((cell) => cell.id),
  });
  if (result.kind === "refused") throwRefusal(result.error);
  return c.json(conversationBody(id, result.value));
}

async function open(deps: EdgeDeps, c: Context<EdgeEnvironment>) {
  const id = c.req.param("id") ?? "";
  const { scope } = await openClientId(deps, factsOf(c), id, {
    prefix: "conv",
    noun: "The conversation",
  });
  return { id, scope, object: deps.openConversation(scope) };
}

async function retrieve(deps: EdgeDeps, c: Context<EdgeEnvironment>): Promise<Response> {
  const { id, scope, object } = await open(deps, c);
  const result = await object.describe(scope);
  if (result.kind === "refused") throwRefusal(result.error);
  return c.json(conversationBody(id, result.value));
}

async function update(deps: EdgeDeps, c: Context<EdgeEnvironment>): Promise<Response> {
  const { id, scope, object } = await open(deps, c);
  const { body, request } = await readRequest(c, parseConversationUpdate);
  const idempotency = await readIdempotency(deps, factsOf(c), c, `${path}/${id}`, body);
  const claim = idempotency?.claim ?? null;
  const { metadata } = request;
  const result = await object.updateMetadata({ scope, idempotency: claim, metadata });
  if (result.kind === "refused") throwRefusal(result.error);
  return c.json(conversationBody(id, result.value));
}

async function remove(deps: EdgeDeps, c: Context<EdgeEnvironment>): Promise<Response> {
  const { id, scope, object } = await open(deps, c);
  const result = await object.erase(scope);
  if (result.kind === "refused") throwRefusal(result.error);
  return c.json({ id, object: "conversation.deleted", deleted: true });
}

async function listItems(deps: EdgeDeps, c: Context<EdgeEnvironment>): Promise<Response> {
  const query = readListQuery(c);
  const { scope, object } = await open(deps, c);
  const result = await object.listItems({ scope, ...query });
  if (result.kind === "refused") throwRefusal(result.error);
  return c.json(listBody(result.value));
}

async function createItems(deps: EdgeDeps, c: Context<EdgeEnvironment>): Promise<Response> {
  const { id, scope, object } = await open(deps, c);
  const { body, request } = await readRequest(c, parseItemsCreate);
  const idempotency = await readIdempotency(deps, factsOf(c), c, `${path}/${id}/items`, body);
  const mint = itemIdMinter(idempotency?.itemStem ?? deps.identifiers.random(itemStemLength));
  const result = await object.appendItems({
    scope,
    idempotency: idempotency?.claim ?? null,
    items: newItemsToRecords(request.items, mint),
  });
  if (result.kind === "refused") throwRefusal(result.error);
  return c.json(listBody(result.value));
}

async function retrieveItem(deps: EdgeDeps, c: Context<EdgeEnvironment>): Promise<Response> {
  const { scope, object } = await open(deps, c);
  const result = await object.readItem({ scope, itemId: c.req.param("itemId") ?? "" });
  if (result.kind === "refused") throwRefusal(result.error);
  return c.json(parseItem(result.value));
}

async function removeItem(deps: EdgeDeps, c: Context<EdgeEnvironment>): Promise<Response> {
  const { id, scope, object } = await open(deps, c);
  const result = await object.deleteItem({ scope, itemId: c.req.param("itemId") ?? "" });
  if (result.kind === "refused") throwRefusal(result.error);
  return c.json(conversationBody(id, result.value));
}

/** The Conversations API and its items. */
export function addConversations(app: Hono<EdgeEnvironment>, deps: EdgeDeps): void {
  const include = ["include", "include[]"];
  mount(app, path, { POST: { run: (c) => create(deps, c) } });
  mount(app, `${path}/:id`, {
    GET: { run: (c) => retrieve(deps, c) },
    POST: { run: (c) => update(deps, c) },
    DELETE: { run: (c) => remove(deps, c) },
  });
  mount(app, `${path}/:id/items`, {
    GET: { query: listParameters, run: (c) => listItems(deps, c) },
    POST: { query: include, run: (c) => createItems(deps, c) },
  });
  mount(app, `${path}/:id/items/:itemId`, {
    GET: { query: include, run: (c) => retrieveItem(deps, c) },
    DELETE: { run: (c) => removeItem(deps, c) },
  });
}
