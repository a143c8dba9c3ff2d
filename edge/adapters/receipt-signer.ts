import type { CellDescription, ShardDescription, Topology } from "#shared/config/topology.ts";
import { chainReceipt } from "#shared/residency/receipt.ts";
import type { ReceiptHop } from "#shared/residency/receipt.ts";
import type { ReceiptFacts, Receipts } from "../ports.ts";
import { sha256Hex } from "./web-crypto.ts";

/** An Ed25519 private key as a JWK, with the id that receipts name. */
export interface ReceiptKey {
  readonly kid: string;
  readonly kty: "OKP";
  readonly crv: "Ed25519";
  readonly x: string;
  readonly d: string;
}

/** Base64url of a text of bytes: each character is one. */
function base64url(binary: string): string {
  return btoa(binary).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

function binaryOf(bytes: Uint8Array): string {
  return String.fromCharCode(...bytes);
}

/** What a receipt also says where the caller knows it; null where it does not. */
export interface ReceiptDetails {
  readonly hostname?: string | null;
  readonly tenantTag?: string | null;
  readonly api?: string | null;
  /** `ok`, `streaming` or an error code. */
  readonly outcome?: string | null;
}

/** Receipts with everything that the signer can put into them. */
export interface ReceiptSigner extends Receipts {
  sign(facts: ReceiptFacts & ReceiptDetails): Promise<string>;
}

/** The topology with its shards by id, so that a receipt does not search all of them. */
interface KnownTopology {
  readonly topology: Topology;
  readonly shards: ReadonlyMap<string, ShardDescription>;
}

/** A jurisdiction that is none: a receipt with such a hop never verifies. */
const unknownJurisdiction = "unknown";

/** The shard as the topology knows it, not as the cell says: its jurisdiction is that of its own cell. */
function shardHop(
  { topology, shards }: KnownTopology,
  id: string,
  cell: CellDescription,
): ReceiptHop {
  const shard = shards.get(id);
  if (shard === undefined) {
    const { region } = cell;
    const jurisdiction = unknownJurisdiction;
    return { kind: "shard", jurisdiction, id, region, model: null, revision: null };
  }
  const home = topology.cells.get(shard.cell);
  return {
    kind: "shard",
    jurisdiction: home?.jurisdiction ?? unknownJurisdiction,
    id,
    region: home?.region ?? cell.region,
    model: shard.model,
    revision: shard.revision,
  };
}

function hopsOf(
  facts: ReceiptFacts & ReceiptDetails,
  known: KnownTopology,
  mode: string,
): readonly ReceiptHop[] {
  const { topology } = known;
  const { jurisdiction, cell, shard, colo, hostname } = facts;
  const hops: ReceiptHop[] = [{ kind: "worker", jurisdiction, hostname, colo }];
  if (facts.hasObject) {
    const pin = topology.jurisdictions.get(jurisdiction)?.objects ?? "unknown";
    hops.push({ kind: "object", jurisdiction, pin, mode });
  }
  if (cell !== null) {
    hops.push({ kind: "cell", jurisdiction: cell.jurisdiction, id: cell.id, region: cell.region });
    if (shard !== null) hops.push(shardHop(known, shard, cell));
    if (facts.hasObject) {
      const region = topology.regions.get(cell.region);
      const actual = region?.jurisdiction ?? unknownJurisdiction;
      hops.push({ kind: "database", jurisdiction: actual, region: cell.region });
    }
  }
  return hops;
}

/** Signs receipts with Ed25519 (RFC 8032) and publishes the public half. */
export function createReceiptSigner(options: {
  readonly key: ReceiptKey;
  readonly topology: Topology;
  readonly mode: "enforce" | "emulate";
}): ReceiptSigner {
  const { key, topology, mode } = options;
  const all = [...topology.jurisdictions.values()].flatMap(({ shards }) => shards);
  const known = { topology, shards: new Map(all.map((shard) => [shard.id, shard])) };
  const encoder = new TextEncoder();
  const sha256 = (text: string): Promise<string> => sha256Hex(encoder.encode(text));
  let imported: Awaited<ReturnType<typeof crypto.subtle.importKey>> | null = null;
  return {
    publicKeys: {
      keys: [{ kty: key.kty, crv: key.crv, x: key.x, kid: key.kid, use: "sig", alg: "EdDSA" }],
    },
    async sign(facts) {
      const { kty, crv, x, d } = key;
      imported ??= await crypto.subtle.importKey(
        "jwk",
        { kty, crv, x, d },
        { name: "Ed25519" },
        false,
        ["sign"],
      );
      const json = await chainReceipt(
        {
          v: 1,
          keyId: key.kid,
          requestId: facts.requestId,
          issuedAtMs: facts.nowMs,
          jurisdiction: facts.jurisdiction,
          tenantTag: facts.tenantTag ?? null,
          api: facts.api ?? null,
          outcome: facts.outcome ?? null,
          hops: hopsOf(facts, known, mode),
          rejected: facts.rejected,
        },
        sha256,
      );
      const bytes = encoder.encode(json);
      const signature = new Uint8Array(await crypto.subtle.sign("Ed25519", imported, bytes));
      // The receipt's JSON is ASCII.
      return `${base64url(json)}.${base64url(binaryOf(signature))}`;
    },
  };
}
