import { invariant } from "../errors/invariant.ts";
import type { ConversationId, Jurisdiction, TenantId, TurnId } from "./brands.ts";

/**
 * Identifiers route themselves: `<prefix>_<jurisdiction>_<tenantTag>_<random>_<mac>`. The first 16 characters of
 * `random` name the conversation's object, the 12 that may follow the turn, so that a response id finds its
 * conversation without a lookup. The MAC covers prefix, jurisdiction, tenant and random; a forged, truncated or
 * foreign id therefore never reaches an object.
 */
export type IdentifierPrefix =
  | "conv"
  | "turn"
  | "resp"
  | "chatcmpl"
  | "cmpl"
  | "strm"
  | "msg"
  | "fc"
  | "rs"
  | "fco";

/** Characters of `random` that name the conversation: 16 evenly drawn letters of 62 are 95 bits. */
export const conversationRandomLength = 16;
/** Characters that name a turn inside its conversation: 12 evenly drawn letters of 62 are 71 bits. */
export const turnRandomLength = 12;
/** Characters of the MAC: 22 letters; the likeliest guess at one holds with 2^-124, see {@link base62}. */
export const macLength = 22;
/** Characters of the tenant's tag, a keyed hash, so that an id does not name its tenant. */
export const tenantTagLength = 8;

/** The parts of a well-formed identifier; nothing is proven until its MAC is compared. */
export interface IdentifierParts {
  readonly prefix: IdentifierPrefix;
  readonly jurisdiction: string;
  readonly tenantTag: string;
  readonly conversationRandom: string;
  /** Empty for a conversation. */
  readonly turnRandom: string;
  readonly mac: string;
}

const pattern =
  /^(conv|turn|resp|chatcmpl|cmpl|strm|msg|fc|rs|fco)_([a-z][a-z0-9-]{0,31})_([0-9A-Za-z]{8})_([0-9A-Za-z]{16})((?:[0-9A-Za-z]{12})?)_([0-9A-Za-z]{22})$/;

/** The parts of `id`, or null when it is not shaped like one of ours. Linear; refuses anything over 160 characters first. */
export function parseIdentifier(id: string): IdentifierParts | null {
  if (id.length > 160) return null;
  const match = pattern.exec(id);
  if (match === null) return null;
  const [, prefix, jurisdiction, tenantTag, conversationRandom, turnRandom, mac] = match;
  if (prefix === undefined || jurisdiction === undefined || tenantTag === undefined) return null;
  if (conversationRandom === undefined || turnRandom === undefined || mac === undefined)
    return null;
  return {
    prefix: prefix as IdentifierPrefix,
    jurisdiction,
    tenantTag,
    conversationRandom,
    turnRandom,
    mac,
  };
}

/** The text whose HMAC is an identifier's MAC. The tenant stands in full: its tag alone could collide. */
export function identifierMacInput(
  parts: {
    prefix: IdentifierPrefix;
    jurisdiction: string;
    conversationRandom: string;
    turnRandom: string;
  },
  tenant: TenantId,
): string {
  return `id;v1;${parts.prefix};${parts.jurisdiction};${tenant};${parts.conversationRandom}${parts.turnRandom}`;
}

/** The text whose HMAC is the tag of a tenant in a jurisdiction. */
export function tenantTagInput(tenant: TenantId, jurisdiction: Jurisdiction): string {
  return `tenant;v1;${jurisdiction};${tenant}`;
}

/** The text whose HMAC names the conversation's Durable Object; the jurisdiction in it keeps emulated jurisdictions apart. */
export function objectNameInput(
  tenant: TenantId,
  jurisdiction: Jurisdiction,
  conversationRandom: string,
): string {
  return `object;v1;${jurisdiction};${tenant};${conversationRandom}`;
}

/** Puts an identifier together; `mac` is the HMAC of {@link identifierMacInput}, in base 62. */
export function formatIdentifier(parts: IdentifierParts): string {
  return `${parts.prefix}_${parts.jurisdiction}_${parts.tenantTag}_${parts.conversationRandom}${parts.turnRandom}_${parts.mac}`;
}

const alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/**
 * The first `length` bytes in base 62, one letter per byte by modulo. 256 = 4 · 62 + 8, so that the first 8 letters come
 * 5 times in 256 and the others 4 times: the likeliest letter holds log2(256 / 5) = 5.67 bits instead of 5.95, which the
 * lengths above allow for. Bytes below 248 give every letter alike.
 * @throws InvariantError when there are fewer than `length` bytes: padding would make a short MAC easy to guess.
 */
export function base62(bytes: Uint8Array, length: number): string {
  invariant(bytes.length >= length, "base 62 needs a byte per letter");
  let text = "";
  for (const byte of bytes.subarray(0, length)) text += alphabet.charAt(byte % 62);
  return text;
}

/** The keyed functions that identifiers need: HMAC-SHA-256 in base 62, and random base 62, both from the runtime. */
export interface IdentifierPort {
  /** HMAC-SHA-256 of `text` under the identifier key, as base 62, `length` ≤ 32 characters. */
  mac(text: string, length: number): Promise<string>;
  /** `length` random base-62 characters from a cryptographic source. */
  random(length: number): string;
}

/** Identifiers of one tenant in one jurisdiction. */
export interface IdentifierScope {
  readonly tenant: TenantId;
  readonly jurisdiction: Jurisdiction;
}

/** A fresh identifier in `scope`; a turn-level one when `turnRandom` is given. */
export async function mintIdentifier(
  port: IdentifierPort,
  scope: IdentifierScope,
  prefix: IdentifierPrefix,
  conversationRandom: string,
  turnRandom = "",
): Promise<string> {
  const { jurisdiction, tenant } = scope;
  const tenantTag = await port.mac(tenantTagInput(tenant, jurisdiction), tenantTagLength);
  const mac = await port.mac(
    identifierMacInput({ prefix, jurisdiction, conversationRandom, turnRandom }, tenant),
    macLength,
  );
  return formatIdentifier({ prefix, jurisdiction, tenantTag, conversationRandom, turnRandom, mac });
}

/**
 * The parts of `id` when it is one of `prefixes`, of this tenant and jurisdiction, and its MAC holds; else null, for
 * every reason alike, so that a foreign id cannot be told from one that never existed. The whole id is compared, in
 * constant time, with the one that would be minted: the tag is not under the MAC, and one conversation has one id.
 */
export async function openIdentifier(
  port: IdentifierPort,
  scope: IdentifierScope,
  id: string,
  prefixes: readonly IdentifierPrefix[],
): Promise<IdentifierParts | null> {
  const parts = parseIdentifier(id);
  if (parts === null || !prefixes.includes(parts.prefix)) return null;
  const { prefix, conversationRandom, turnRandom } = parts;
  const expected = await mintIdentifier(port, scope, prefix, conversationRandom, turnRandom);
  return equalInConstantTime(expected, id) ? parts : null;
}

/** Compares two texts without telling by time where they differ; unequal lengths are unequal at once. */
export function equalInConstantTime(left: string, right: string): boolean {
  if (left.length !== right.length) return false;
  let difference = 0;
  for (let index = 0; index < left.length; index += 1) {
    difference |= left.charCodeAt(index) ^ right.charCodeAt(index);
  }
  return difference === 0;
}

/** A conversation id as such; only after {@link openIdentifier} or {@link mintIdentifier}. */
export function asConversationId(id: string): ConversationId {
  return id as ConversationId;
}

/** A turn id as such; only after {@link openIdentifier} or {@link mintIdentifier}. */
export function asTurnId(id: string): TurnId {
  return id as TurnId;
}
