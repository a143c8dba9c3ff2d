import * as z from "zod";

/**
 * A receipt: proof, without content, of where a request was handled. The hops form a chain: each carries the SHA-256 of the
 * record before it, the first that of the receipt's own head; the whole is signed with Ed25519. A receipt says what the
 * edge decided and saw; what a provider does behind a shard is the provider's word.
 */
export type ReceiptHop =
  | { readonly kind: "worker"; readonly jurisdiction: string; readonly colo: string | null }
  | {
      readonly kind: "object";
      readonly jurisdiction: string;
      readonly pin: string;
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
  readonly hops: readonly ReceiptHop[];
  readonly rejected: readonly ReceiptRejection[];
}

/** Rejected candidates that a receipt lists; a header must stay small. */
export const receiptRejectedMax = 16;
/** Longest receipt that is read, characters. */
export const receiptCharactersMax = 16_384;

/** SHA-256 of a text, as hex: from the runtime. */
export type Sha256Hex = (text: string) => Promise<string>;

const word = z.string().max(128);
const hopFields = { jurisdiction: word, previous: z.string().regex(/^[0-9a-f]{64}$/) };
const hopSchema = z.discriminatedUnion("kind", [
  z.strictObject({ kind: z.literal("worker"), ...hopFields, colo: word.nullable() }),
  z.strictObject({ kind: z.literal("object"), ...hopFields, pin: word, mode: word }),
  z.strictObject({ kind: z.literal("cell"), ...hopFields, id: word, region: word }),
  z.strictObject({ kind: z.literal("shard"), ...hopFields, id: word, region: word }),
  z.strictObject({ kind: z.literal("database"), ...hopFields, region: word }),
]);
const receiptSchema = z.strictObject({
  v: z.literal(1),
  keyId: word,
  requestId: word,
  issuedAtMs: z.int().min(0),
  jurisdiction: word,
  hops: z.array(hopSchema).min(1).max(16),
  rejected: z.array(z.strictObject({ id: word, reason: word })).max(receiptRejectedMax),
});

/** A receipt with its chain, as it is signed. */
export type ChainedReceipt = z.infer<typeof receiptSchema>;

/** JSON with keys in one order, so that two builders make the same bytes. */
export function canonicalJson(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(",")}]`;
  if (typeof value !== "object" || value === null) return JSON.stringify(value) ?? "null";
  const fields = Object.entries(value)
    .filter(([, field]) => field !== undefined)
    .toSorted(([left], [right]) => (left < right ? -1 : 1))
    .map(([key, field]) => `${JSON.stringify(key)}:${canonicalJson(field)}`);
  return `{${fields.join(",")}}`;
}

function headOf(receipt: Omit<ReceiptRecord, "hops">): string {
  const { v, keyId, requestId, issuedAtMs, jurisdiction, rejected } = receipt;
  return canonicalJson({ v, keyId, requestId, issuedAtMs, jurisdiction, rejected });
}

/** Chains a record's hops; the text is what is signed. */
export async function chainReceipt(record: ReceiptRecord, sha256Hex: Sha256Hex): Promise<string> {
  const rejected = record.rejected.slice(0, receiptRejectedMax);
  let previous = await sha256Hex(headOf({ ...record, rejected }));
  const hops: unknown[] = [];
  for (const hop of record.hops) {
    const chained = { ...hop, previous };
    hops.push(chained);
    previous = await sha256Hex(canonicalJson(chained));
  }
  return canonicalJson({ ...record, rejected, hops });
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

/** The two parts of a receipt's text: the signed JSON (still base64url) and the signature; null when it is no receipt. */
export function splitReceipt(
  text: string,
): { readonly payload: string; readonly signature: string } | null {
  if (text.length > receiptCharactersMax) return null;
  const match = /^([0-9A-Za-z_-]+)\.([0-9A-Za-z_-]{86})$/.exec(text);
  const [, payload, signature] = match ?? [];
  return payload === undefined || signature === undefined ? null : { payload, signature };
}

/**
 * Judges the signed JSON of a receipt. `checkSignature` answers null for a key id that is not among the published ones.
 */
export async function verifyReceipt(
  json: string,
  checkSignature: (keyId: string) => Promise<boolean | null>,
  sha256Hex: Sha256Hex,
): Promise<ReceiptVerdict> {
  let value: unknown;
  try {
    value = JSON.parse(json);
  } catch {
    return { ok: false, problem: "malformed", detail: "the signed part is not JSON" };
  }
  const parsed = receiptSchema.safeParse(value);
  if (!parsed.success) {
    const path = parsed.error.issues[0]?.path.map(String).join(".") ?? "";
    return { ok: false, problem: "malformed", detail: `at ${path === "" ? "the root" : path}` };
  }
  const receipt = parsed.data;
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
