import * as z from "zod";

/**
 * A receipt: proof, without content, of where a request was handled. The hops form a chain: each carries the SHA-256 of the
 * canonical JSON of the hop before it, the first that of the receipt's own head; the whole is signed with Ed25519. A receipt
 * says what the edge decided and saw; what a provider does behind a shard is the provider's word.
 */
export type ReceiptHop =
  | {
      readonly kind: "worker";
      readonly jurisdiction: string;
      /** The host that the client addressed. */
      readonly hostname: string | null;
      /** The data centre, where the platform names it. */
      readonly colo: string | null;
    }
  | {
      readonly kind: "object";
      readonly jurisdiction: string;
      readonly pin: string;
      /** `emulate` on a developer's machine, where objects cannot be pinned. */
      readonly mode: string;
    }
  | {
      readonly kind: "cell";
      readonly jurisdiction: string;
      readonly id: string;
      readonly region: string;
    }
  | {
      readonly kind: "shard";
      readonly jurisdiction: string;
      readonly id: string;
      readonly region: string;
      /** Null for a shard that the topology does not have. */
      readonly model: string | null;
      readonly revision: string | null;
    }
  | { readonly kind: "database"; readonly jurisdiction: string; readonly region: string };

/** A candidate that was not used, and why. */
export interface ReceiptRejection {
  readonly id: string;
  readonly reason: string;
}

/** What a receipt says, before it is chained and signed. */
export interface ReceiptRecord {
  readonly v: 1;
  readonly keyId: string;
  readonly requestId: string;
  readonly issuedAtMs: number;
  /** The jurisdiction that was required. */
  readonly jurisdiction: string;
  /** Keyed hash of the tenant, as in its identifiers; null before it is known. */
  readonly tenantTag: string | null;
  /** The route's pattern (`/v1/chat/completions`); null before it is known. */
  readonly api: string | null;
  /** `ok`, `streaming` or an error code; null where the signer was not told. */
  readonly outcome: string | null;
  readonly hops: readonly ReceiptHop[];
  readonly rejected: readonly ReceiptRejection[];
}

/** Rejected candidates that a receipt lists at most; `rejectedCount` counts all of them. */
export const receiptRejectedMax = 16;
/** Hops of one receipt; a request has five kinds. */
const hopsMax = 16;
/** Longest receipt that is made or read, characters: half of the 8 KiB that common proxies allow for all headers. */
export const receiptCharactersMax = 4_096;
/** Characters of an Ed25519 signature in base64url. */
const signatureCharacters = 86;
/** Longest signed JSON that fits, characters; base64url makes four of three. */
const jsonCharactersMax = Math.floor(((receiptCharactersMax - 1 - signatureCharacters) * 3) / 4);
/** Characters of one field; longer ones are cut. A hostname has 253 at most (RFC 1035). */
const wordCharactersMax = 128;
const hostnameCharactersMax = 253;

/** SHA-256 of an ASCII text, as hex: from the runtime. */
export type Sha256Hex = (text: string) => Promise<string>;

const word = z.string().max(wordCharactersMax);
const hopFields = { jurisdiction: word, previous: z.string().regex(/^[0-9a-f]{64}$/) };
const hopSchema = z.discriminatedUnion("kind", [
  z.strictObject({
    kind: z.literal("worker"),
    ...hopFields,
    hostname: z.string().max(hostnameCharactersMax).nullable(),
    colo: word.nullable(),
  }),
  z.strictObject({ kind: z.literal("object"), ...hopFields, pin: word, mode: word }),
  z.strictObject({ kind: z.literal("cell"), ...hopFields, id: word, region: word }),
  z.strictObject({
    kind: z.literal("shard"),
    ...hopFields,
    id: word,
    region: word,
    model: word.nullable(),
    revision: word.nullable(),
  }),
  z.strictObject({ kind: z.literal("database"), ...hopFields, region: word }),
]);
const receiptSchema = z.strictObject({
  v: z.literal(1),
  keyId: word,
  requestId: word,
  issuedAtMs: z.int().min(0).max(8_640_000_000_000_000),
  jurisdiction: word,
  tenantTag: word.nullable(),
  api: word.nullable(),
  outcome: word.nullable(),
  hops: z.array(hopSchema).min(1).max(hopsMax),
  rejected: z.array(z.strictObject({ id: word, reason: word })).max(receiptRejectedMax),
  rejectedCount: z.int().min(0),
});

/** A receipt with its chain, as it is signed. */
export type ChainedReceipt = z.infer<typeof receiptSchema>;

/** What stands in JSON as it is; nearly every text of a receipt. */
const plain = /^[ !#-[\]-~]*$/;

function quote(text: string): string {
  if (plain.test(text)) return `"${text}"`;
  return JSON.stringify(text).replaceAll(
    /[\u007f-\uffff]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

/** JSON in ASCII with keys in one order, so that two builders make the same bytes. Fields that are undefined are left out. */
export function canonicalJson(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(",")}]`;
  if (typeof value === "string") return quote(value);
  if (typeof value !== "object" || value === null) return JSON.stringify(value) ?? "null";
  return joinFields(fieldsOf(value));
}

/** Each field's canonical JSON by its name. */
function fieldsOf(value: object): [name: string, json: string][] {
  const fields: [string, string][] = [];
  for (const [name, field] of Object.entries(value)) {
    if (field !== undefined) fields.push([name, canonicalJson(field)]);
  }
  return fields;
}

function joinFields(fields: [name: string, json: string][]): string {
  const ordered = fields.toSorted(([left], [right]) => (left < right ? -1 : 1));
  return `{${ordered.map(([name, json]) => `${quote(name)}:${json}`).join(",")}}`;
}

function headOf<Receipt extends { readonly hops: unknown }>(receipt: Receipt): string {
  return canonicalJson({ ...receipt, hops: undefined });
}

function cut<Hop extends object>(hop: Hop): Hop {
  const isShort = (value: unknown): boolean =>
    typeof value !== "string" || value.length <= wordCharactersMax;
  if (Object.values(hop).every(isShort)) return hop;
  const fields = Object.entries(hop).map(([key, value]: [string, unknown]) => {
    const max = key === "hostname" ? hostnameCharactersMax : wordCharactersMax;
    return [key, typeof value === "string" ? value.slice(0, max) : value];
  });
  return Object.fromEntries(fields) as Hop;
}

/** The record with no more rejections than fit into a header, and their whole number. */
function fit(record: ReceiptRecord): ReceiptRecord & { readonly rejectedCount: number } {
  const previous = "0".repeat(64);
  const hops = record.hops.map(cut);
  const rejectedCount = record.rejected.length;
  let rejected = record.rejected.slice(0, receiptRejectedMax).map(cut);
  const lengthOf = (): number =>
    canonicalJson({
      ...record,
      hops: hops.map((hop) => ({ ...hop, previous })),
      rejected,
      rejectedCount,
    }).length;
  while (rejected.length > 0 && lengthOf() > jsonCharactersMax) rejected = rejected.slice(0, -1);
  return { ...record, hops, rejected, rejectedCount };
}

/** Chains a record's hops; the text, ASCII only, is what is signed. */
export async function chainReceipt(record: ReceiptRecord, sha256Hex: Sha256Hex): Promise<string> {
  const fitted = fit(record);
  // Each part is made canonical once: the head's fields stand in the whole as they do in the head.
  const head = fieldsOf({ ...fitted, hops: undefined });
  let previous = await sha256Hex(joinFields(head));
  const hops: string[] = [];
  for (const [index, hop] of fitted.hops.entries()) {
    const chained = canonicalJson({ ...hop, previous });
    hops.push(chained);
    // Nothing follows the last hop, so nothing carries its hash.
    if (index < fitted.hops.length - 1) previous = await sha256Hex(chained);
  }
  return joinFields([...head, ["hops", `[${hops.join(",")}]`]]);
}

/** Why a receipt does not verify. */
export type ReceiptProblem =
  | "malformed"
  | "unknown key"
  | "bad signature"
  | "broken chain"
  | "a hop is outside the required jurisdiction";

export type ReceiptVerdict =
  | { readonly ok: true; readonly receipt: ChainedReceipt }
  | { readonly ok: false; readonly problem: ReceiptProblem; readonly detail: string };

/** The two parts of a receipt's text, both base64url: the signed JSON and the signature; null when it is no receipt. */
export function splitReceipt(
  text: string,
): { readonly payload: string; readonly signature: string } | null {
  if (text.length > receiptCharactersMax) return null;
  const match = /^([0-9A-Za-z_-]+)\.([0-9A-Za-z_-]{86})$/.exec(text);
  const [, payload, signature] = match ?? [];
  return payload === undefined || signature === undefined ? null : { payload, signature };
}

function readReceipt(json: string): ChainedReceipt | string {
  let value: unknown;
  try {
    value = JSON.parse(json);
  } catch {
    return "the signed part is not JSON";
  }
  const parsed = receiptSchema.safeParse(value);
  if (!parsed.success) {
    const path = parsed.error.issues[0]?.path.map(String).join(".") ?? "";
    return `at ${path === "" ? "the root" : path}`;
  }
  return canonicalJson(parsed.data) === json ? parsed.data : "the signed part is not canonical";
}

/**
 * Judges the signed JSON of a receipt. `checkSignature` answers null for a key id that is not among the published ones.
 * The first problem is told, in this order: shape, key, signature, then hop by hop its chain and its jurisdiction.
 */
export async function verifyReceipt(
  json: string,
  checkSignature: (keyId: string) => Promise<boolean | null>,
  sha256Hex: Sha256Hex,
): Promise<ReceiptVerdict> {
  const receipt = readReceipt(json);
  if (typeof receipt === "string") return { ok: false, problem: "malformed", detail: receipt };
  const isSigned = await checkSignature(receipt.keyId);
  if (isSigned === null) return { ok: false, problem: "unknown key", detail: receipt.keyId };
  if (!isSigned) return { ok: false, problem: "bad signature", detail: receipt.keyId };
  let previous = await sha256Hex(headOf(receipt));
  for (const [index, hop] of receipt.hops.entries()) {
    if (hop.previous !== previous)
      return { ok: false, problem: "broken chain", detail: `at hop ${index + 1}` };
    previous = await sha256Hex(canonicalJson(hop));
    if (hop.jurisdiction !== receipt.jurisdiction) {
      const detail = `hop ${index + 1} (${hop.kind}) is in ${hop.jurisdiction}, required ${receipt.jurisdiction}`;
      return { ok: false, problem: "a hop is outside the required jurisdiction", detail };
    }
  }
  return { ok: true, receipt };
}
