import type { Api } from "#shared/protocol/internal/turn-request.ts";
import type { ConversationId, TurnId } from "#shared/residency/brands.ts";
import {
  asConversationId,
  asTurnId,
  mintIdentifier,
  openIdentifier,
  turnRandomLength,
} from "#shared/residency/identifiers.ts";
import type { IdentifierPort, IdentifierPrefix } from "#shared/residency/identifiers.ts";
import { GatewayError } from "#shared/errors/gateway-error.ts";
import type { MintItemId } from "#shared/protocol/openai/items.ts";
import type { ConversationScope } from "#shared/conversation/rpc.ts";
import type { EdgeDeps } from "../ports.ts";
import type { RequestFacts } from "../request-facts.ts";

/** The ids of one durable turn; all are found by the conversation's random and the turn's. */
export interface TurnIds {
  readonly conversationId: ConversationId;
  readonly turnRandom: string;
  readonly turnId: TurnId;
  /** What the client sees: `chatcmpl_…`, `cmpl_…`, `resp_…`. */
  readonly publicId: string;
  readonly streamId: string;
  /** Letters and digits that item ids of the answer are made of. */
  readonly itemIdStem: string;
}

const publicPrefix: Readonly<Record<Api, IdentifierPrefix>> = {
  chat: "chatcmpl",
  completions: "cmpl",
  // An embedding's answer shows no id; the turn still needs one.
  embeddings: "cmpl",
  responses: "resp",
};

/** Whose identifiers they are. */
export function identifierScope(facts: RequestFacts) {
  return { tenant: facts.tenant.id, jurisdiction: facts.jurisdiction.id };
}

/** Fresh ids for a turn of the conversation that `conversationRandom` names. */
export async function mintTurnIds(
  port: IdentifierPort,
  facts: RequestFacts,
  api: Api,
  conversationRandom: string,
): Promise<TurnIds> {
  const scope = identifierScope(facts);
  const turnRandom = port.random(turnRandomLength);
  const mint = (prefix: IdentifierPrefix): Promise<string> =>
    mintIdentifier(port, scope, prefix, conversationRandom, turnRandom);
  const [conversationId, turnId, publicId, streamId] = await Promise.all([
    mintIdentifier(port, scope, "conv", conversationRandom),
    mint("turn"),
    mint(publicPrefix[api]),
    mint("strm"),
  ]);
  return {
    conversationId: asConversationId(conversationId),
    turnRandom,
    turnId: asTurnId(turnId),
    publicId,
    streamId,
    itemIdStem: `${conversationRandom}${turnRandom}`,
  };
}

/** The id by which a turn's stream is resumed. */
export function streamIdOf(
  port: IdentifierPort,
  facts: RequestFacts,
  conversationRandom: string,
  turnRandom: string,
): Promise<string> {
  return mintIdentifier(port, identifierScope(facts), "strm", conversationRandom, turnRandom);
}

/** The scope of calls to the conversation's object. */
export function conversationScope(
  facts: RequestFacts,
  conversationId: ConversationId,
  conversationRandom: string,
): ConversationScope {
  return {
    ...identifierScope(facts),
    conversationId,
    conversationRandom,
    requestId: facts.requestId,
    traceparent: facts.traceparent,
  };
}

/** The scope of a conversation by its random part. */
export async function scopeOfRandom(
  port: IdentifierPort,
  facts: RequestFacts,
  conversationRandom: string,
): Promise<ConversationScope> {
  const id = await mintIdentifier(port, identifierScope(facts), "conv", conversationRandom);
  return conversationScope(facts, asConversationId(id), conversationRandom);
}

/**
 * The conversation and turn that a client's id names.
 * @throws GatewayError `not_found`, the same for forged, foreign, truncated and unknown ids.
 */
export async function openClientId(
  deps: EdgeDeps,
  facts: RequestFacts,
  id: string,
  what: {
    readonly prefix: IdentifierPrefix;
    readonly noun: string;
    readonly param?: string;
  },
): Promise<{ readonly scope: ConversationScope; readonly turnRandom: string }> {
  const parts = await openIdentifier(deps.identifiers, identifierScope(facts), id, [what.prefix]);
  // A conversation's id has no turn part, every other id has one.
  if (parts === null || (parts.turnRandom === "") !== (what.prefix === "conv")) {
    const details = what.param === undefined ? {} : { param: what.param };
    throw new GatewayError("not_found", `${what.noun} was not found.`, details);
  }
  const scope = await scopeOfRandom(deps.identifiers, facts, parts.conversationRandom);
  return { scope, turnRandom: parts.turnRandom };
}

const itemPrefix: Readonly<Record<string, string>> = {
  message: "msg",
  function_call: "fc",
  custom_tool_call: "ctc",
  function_call_output: "fco",
  reasoning: "rs",
};

/** Ids for items that a client sends; `i` keeps them apart from those of the answer under the same stem. */
export function itemIdMinter(stem: string): MintItemId {
  let count = 0;
  return (type) => {
    count += 1;
    return `${itemPrefix[type] ?? "item"}_${stem}_i${count}`;
  };
}
