import compiledTopology from "../topology.jsonc";
import { describeProblems } from "#shared/config/topology.ts";
import { chooseCells } from "#shared/routing/choose-cell.ts";
import { nearCells } from "#shared/routing/near-cells.ts";
import type { CellDescription } from "#shared/config/topology.ts";
import { createCallSigner } from "./adapters/call-signer.ts";
import { createCellAdmin } from "./adapters/cell-admin.ts";
import { throttleCells } from "./adapters/throttled-cells.ts";
import { createCellClient } from "./adapters/cell-client.ts";
import { createCellFetch, createCellRequest } from "./adapters/cell-fetch.ts";
import type { CellRequest } from "./adapters/cell-fetch.ts";
import { createPorts } from "./adapters/conversation-ports.ts";
import { createHealthHints } from "./adapters/health-hints.ts";
import { createSentSince } from "./adapters/sent-since.ts";
import { createIdentifierPort } from "./adapters/identifier-port.ts";
import { createKeyVerifier } from "./adapters/key-verifier.ts";
import { createLog } from "./adapters/logger.ts";
import { createLedgerClient, createOpenConversation } from "./adapters/object-stubs.ts";
import { createReceiptSigner } from "./adapters/receipt-signer.ts";
import { createTokenVerifier } from "./adapters/token-verifier.ts";
import { createHmac, sha256Hex, toHex } from "./adapters/web-crypto.ts";
import { parseEdgeConfig } from "./config.ts";
import type { EdgeConfig } from "./config.ts";
import type { ConversationPorts } from "./objects/ports.ts";
import type { Log } from "#shared/telemetry/log-record.ts";
import type { EdgeDeps, RankCells, VerifyCredential } from "./ports.ts";

/** Characters of a signature's nonce; shared/protocol/internal/signature.ts. */
const nonceLength = 22;

const now = (): number => Date.now();

function randomHex(digits: number): string {
  return toHex(crypto.getRandomValues(new Uint8Array(Math.ceil(digits / 2)))).slice(0, digits);
}

/** A configuration that the edge cannot run with; the text names every path, what is there and what is wanted. */
export class ConfigurationError extends Error {
  override readonly name = "ConfigurationError";
}

const configurations = new WeakMap<object, EdgeConfig>();

/** The environment's configuration, checked once per isolate. @throws ConfigurationError */
function configOf(env: Env): EdgeConfig {
  const known = configurations.get(env);
  if (known !== undefined) return known;
  const result = parseEdgeConfig(env, compiledTopology);
  if (!result.ok) throw new ConfigurationError(describeProblems(result.problems));
  configurations.set(env, result.config);
  return result.config;
}

function createRequest(config: EdgeConfig): CellRequest {
  const identifiers = createIdentifierPort(config.identifierKeyHex);
  const sign = createCallSigner({
    ...config.cellSigningKeys,
    nowMs: now,
    nonce: () => identifiers.random(nonceLength),
  });
  return createCellRequest(sign, (input, init) => fetch(input, init));
}

function createVerifyCredential(config: EdgeConfig): VerifyCredential {
  const { topology } = config;
  const verifyKey = createKeyVerifier({
    topology,
    digestOf: (entry) =>
      entry.startsWith("sha256:")
        ? entry.slice("sha256:".length)
        : (config.keyDigests.get(entry.slice("env:".length)) ?? null),
  });
  const verifyToken = createTokenVerifier({
    topology,
    nowMs: now,
    fetcher: (input, init) => fetch(input, init),
  });
  return (presented) => (presented.startsWith("mk_") ? verifyKey : verifyToken)(presented);
}

function createRankCells(config: EdgeConfig, log: Log): RankCells {
  const { topology, health } = config;
  const hmac = createHmac(health.macKeyHex);
  const hints = createHealthHints({
    url: health.url,
    token: health.token,
    macHex: async (text) => toHex(await hmac(text)),
    cells: [...topology.cells.values()],
    nowMs: now,
    onFailure: (reason) => log("warn", "hintsFailed", { reason }),
  });
  const sent = createSentSince();
  return (question, waitUntil) => {
    hints.refresh(waitUntil);
    const own = topology.jurisdictions.get(question.jurisdiction);
    if (own === undefined) return { cells: [] };
    const known = hints.read(own.id);
    const choice = chooseCells(
      {
        cells: own.cells,
        shards: own.shards,
        jurisdiction: own.id,
        model: question.model,
        homeCell: question.homeCell,
        affinityKey: question.affinityKey,
        priority: question.priority,
        hints: known,
        sentSince: sent.since(known),
        near: nearCells(own.cells, topology.regions, question.position),
      },
      now(),
      Math.random,
    );
    if (choice.kind === "none") return { cells: [] };
    sent.note(choice.cells[0]);
    const byId = new Map(own.cells.map((cell) => [cell.id, cell]));
    return {
      cells: choice.cells
        .map((id) => byId.get(id))
        .filter((cell): cell is CellDescription => cell !== undefined),
    };
  };
}

/** Everything that the app needs, from the environment: the only place that reads it. @throws ConfigurationError */
export function createDeps(env: Env): EdgeDeps {
  const config = configOf(env);
  const { topology, objectMode } = config;
  const identifiers = createIdentifierPort(config.identifierKeyHex);
  const log = createLog("edge", config.logLevel, now);
  const objects = {
    conversations: env.CONVERSATION,
    ledgers: env.TENANT_LEDGER,
    mode: objectMode,
    topology,
    identifiers,
  };
  return {
    topology,
    environment: config.environment,
    isBehindDevProxy: config.isBehindDevProxy,
    now,
    randomHex,
    sha256Hex,
    identifiers,
    verifyCredential: createVerifyCredential(config),
    cells: throttleCells(createCellClient(createRequest(config), now), now, Math.random),
    cellAdmin: createCellAdmin(createRequest(config)),
    rankCells: createRankCells(config, log),
    openConversation: createOpenConversation(objects),
    ledger: createLedgerClient(objects),
    receipts: createReceiptSigner({ key: config.receiptSigningKey, topology, mode: objectMode }),
    log,
  };
}

/** The ports of Conversation objects, from the same environment. @throws ConfigurationError */
export function createConversationPorts(env: Env): ConversationPorts {
  const config = configOf(env);
  const log = createLog("object", config.logLevel, now);
  const ledger = createLedgerClient({
    conversations: env.CONVERSATION,
    ledgers: env.TENANT_LEDGER,
    mode: config.objectMode,
    topology: config.topology,
    identifiers: createIdentifierPort(config.identifierKeyHex),
  });
  return createPorts({
    ledger,
    topology: config.topology,
    mode: config.objectMode,
    cellFetch: createCellFetch(createRequest(config)),
    log: (event, fields) => log("info", event, fields),
  });
}
