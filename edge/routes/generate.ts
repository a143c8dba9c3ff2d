import type { Context } from "hono";
import { GatewayError } from "#shared/errors/gateway-error.ts";
import type { JsonObject } from "#shared/protocol/json.ts";
import type { ParseResult } from "#shared/protocol/openai/generation-request.ts";
import { parseJsonBody } from "#shared/protocol/openai/parse-json-body.ts";
import { conversationRandomLength } from "#shared/residency/identifiers.ts";
import type { IdempotencyClaim } from "#shared/conversation/rpc.ts";
import { readBody } from "../middleware/body-limit.ts";
import type { ReadBody } from "../middleware/body-limit.ts";
import type { EdgeDeps } from "../ports.ts";
import type { EdgeEnvironment, RequestFacts } from "../request-facts.ts";
import type { LaneAnswer } from "../turns/lane-answer.ts";
import { throwRefusal } from "../turns/prepared-turn.ts";

/** Longest `Idempotency-Key`, characters; draft-ietf-httpapi-idempotency-key-header-07 leaves it to us. */
const idempotencyKeyLengthMax = 255;

/** Random characters of the ids of items that one call adds. */
export const itemStemLength = 12;

/** A parsed body together with its bytes, which an idempotency key is bound to. */
export interface ParsedBody<Request> {
  readonly request: Request;
  readonly body: ReadBody;
}

/** Reads, caps and parses a body. @throws GatewayError with the refusal. */
export async function readRequest<Request>(
  c: Context<EdgeEnvironment>,
  parse: (body: JsonObject) => ParseResult<Request>,
): Promise<ParsedBody<Request>> {
  const body = await readBody(c.req.raw);
  const json = parseJsonBody(body.text);
  if (!json.ok) throwRefusal(json.error);
  const parsed = parse(json.value);
  if (!parsed.ok) throwRefusal(parsed.error);
  return { request: parsed.request, body };
}

/** The answer of a lane as the route's response; its hops go into the receipt. */
export function respond(c: Context<EdgeEnvironment>, answer: LaneAnswer): Response {
  c.set("hops", answer.hops);
  if (answer.errorCode !== undefined) c.set("errorCode", answer.errorCode);
  return answer.response;
}

/** A promise that two requests are one, and the conversation that both of them must meet in. */
export interface Idempotency {
  readonly claim: IdempotencyClaim;
  /** Random parts derived from the key, so that two edges that have not met name the same objects. */
  readonly conversationRandom: string;
  readonly forkRandom: string;
  /** What ids of added items are made of, so that a repeat brings the same ones. */
  readonly itemStem: string;
}

/** The request's `Idempotency-Key`, quoted or not; null without one. @throws GatewayError when it is none. */
export async function readIdempotency(
  deps: EdgeDeps,
  facts: RequestFacts,
  c: Context<EdgeEnvironment>,
  route: string,
  body: ReadBody,
): Promise<Idempotency | null> {
  const header = c.req.header("idempotency-key");
  if (header === undefined) return null;
  const quoted = /^"(.*)"$/.exec(header);
  const key = quoted?.[1] ?? header;
  if (!/^[\x21-\x7e]+$/.test(key) || key.length > idempotencyKeyLengthMax) {
    throw new GatewayError(
      "invalid_request",
      `Idempotency-Key must be 1 to ${idempotencyKeyLengthMax} printable characters.`,
      { param: "Idempotency-Key" },
    );
  }
  const scope = `${facts.jurisdiction.id};${facts.tenant.id};${route};${key}`;
  const mac = (purpose: string, length = conversationRandomLength): Promise<string> =>
    deps.identifiers.mac(`${purpose};v1;${scope}`, length);
  const [bodySha256, conversationRandom, forkRandom, itemStem] = await Promise.all([
    deps.sha256Hex(body.bytes),
    mac("idem"),
    mac("idemfork"),
    mac("idemitems", itemStemLength),
  ]);
  const claim = { key: `${route};${key}`, bodySha256 };
  return { claim, conversationRandom, forkRandom, itemStem };
}

/** The random parts of a turn that no key and no conversation places. */
export function freshPlaces(
  deps: EdgeDeps,
  idempotency: Idempotency | null,
): { readonly conversationRandom: string; readonly forkRandom: string } {
  if (idempotency !== null) return idempotency;
  return {
    conversationRandom: deps.identifiers.random(conversationRandomLength),
    forkRandom: deps.identifiers.random(conversationRandomLength),
  };
}
