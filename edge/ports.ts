import type { ReserveInput, ReserveResult, SettleInput } from "#shared/budget/rpc.ts";
import type { TenantKey } from "#shared/config/limits.ts";
import type { CellDescription, TenantDescription, Topology } from "#shared/config/topology.ts";
import type { ConversationRpc, ConversationScope } from "#shared/conversation/rpc.ts";
import type { ErrorOutcome } from "#shared/errors/gateway-error.ts";
import type { PlatformFailure } from "#shared/errors/platform-failure.ts";
import type { CellState } from "#shared/protocol/internal/cell-state.ts";
import type { ShardAdminState, ShardCommand } from "#shared/protocol/internal/shard-admin.ts";
import type { TurnOutcome } from "#shared/protocol/internal/turn-outcome.ts";
import type { TurnRequest } from "#shared/protocol/internal/turn-request.ts";
import type { CellId, Jurisdiction } from "#shared/residency/brands.ts";
import type { IdentifierPort } from "#shared/residency/identifiers.ts";
import type { Position } from "#shared/routing/near-cells.ts";
import type { Log } from "#shared/telemetry/log-record.ts";

/** Whose credential was presented. */
export type Credential =
  | { readonly kind: "tenant"; readonly tenant: TenantDescription; readonly key: TenantKey }
  | { readonly kind: "admin" }
  | { readonly kind: "refused" };

/** Checks what stands after `Bearer`: an API key or a JWT. Never throws for a bad one. */
export type VerifyCredential = (presented: string) => Promise<Credential>;

/** What every call to a cell carries besides its content. */
export interface CellCall {
  readonly requestId: string;
  readonly traceparent: string;
  /** Absolute, ms since the epoch; the call is cancelled then. */
  readonly deadlineMs: number;
  /** Cancels the call; the cell goes on with a durable turn. */
  readonly signal: AbortSignal | null;
  /** Time until the head of the answer must be there, ms; null: until the deadline. */
  readonly headTimeoutMs: number | null;
}

/** What a cell answered. */
export type CellAnswer =
  | {
      readonly kind: "answer";
      readonly headers: Headers;
      readonly body: ReadableStream<Uint8Array>;
    }
  /** An error in the contract's shape, before any frame. `mayMove`: another cell may have room. */
  | {
      readonly kind: "refused";
      readonly error: ErrorOutcome;
      readonly mayMove: boolean;
      readonly shard: string | null;
      /** The cell's degradation level; null where it told none. */
      readonly level: string | null;
      /** What the cell wants kept away; null for nothing. */
      readonly throttle: string | null;
    }
  /** No answer, none that a cell gives (`notACell`), or one that is about the call and not about the turn. */
  | { readonly kind: "unreachable"; readonly failure: PlatformFailure | "timeout" | "notACell" };

/** What a cell says of a turn that it was told to stop. */
export type StopReply =
  /** It ran: what it counted, ended now or before. */
  | { readonly kind: "outcome"; readonly outcome: TurnOutcome }
  /** It never ran there, and never will. */
  | { readonly kind: "neverRan" }
  /** The cell was not reached, or nothing of the turn is kept. */
  | { readonly kind: "unknown" };

/** Signed calls to the cells of one deployment. Retries nothing but a signature refused for its time, once. */
export interface CellClient {
  startTurn(cell: CellDescription, request: TurnRequest, call: CellCall): Promise<CellAnswer>;
  /** The frames of a running turn with seq > `afterSeq`, from the cell's buffer, then live. */
  readFrames(
    cell: CellDescription,
    position: { readonly turnId: string; readonly attempt: number; readonly afterSeq: number },
    call: CellCall,
  ): Promise<CellAnswer>;
  /** Ends a turn of the stateless lane and asks what it came to. Never throws. */
  stopTurn(
    cell: CellDescription,
    turn: { readonly turnId: string; readonly attempt: number },
    call: CellCall,
  ): Promise<StopReply>;
  /** Tells the cell that frames up to `seq` are journaled. Best effort; never throws. */
  acknowledge(
    cell: CellDescription,
    position: { readonly turnId: string; readonly attempt: number; readonly seq: number },
    call: CellCall,
  ): Promise<void>;
}

/** What a cell answers an operator. */
export type CellAdminAnswer =
  | { readonly kind: "shards"; readonly shards: readonly ShardAdminState[] }
  | { readonly kind: "unreachable"; readonly reason: string };

/** The operators' calls to cells. Every failure is a value. */
export interface CellAdmin {
  shards(cell: CellDescription): Promise<CellAdminAnswer>;
  /** Null when the cell does not answer, or not as one. */
  state(cell: CellDescription): Promise<CellState | null>;
  /** Answers with the shard that the command is about, as it is then; durable in the cell. */
  command(cell: CellDescription, command: ShardCommand): Promise<CellAdminAnswer>;
}

/** A Durable Object could not be called; the call may have run. */
export class ObjectUnavailableError extends Error {
  override readonly name = "ObjectUnavailableError";
  readonly failure: PlatformFailure;

  constructor(failure: PlatformFailure, cause: unknown) {
    super(`object call failed: ${failure}`, { cause });
    this.failure = failure;
  }

  /** Whether the call may have run all the same, and what it wrote be durable; only one refused for load has not. */
  get mayHaveRun(): boolean {
    return this.failure !== "overloaded";
  }
}

/**
 * The Conversation objects of a jurisdiction. Each method call takes a fresh stub; repeatable calls are made at most twice
 * more after a failure that the platform calls transient.
 * @throws ObjectUnavailableError from every method, when the object cannot be reached.
 */
export type OpenConversation = (
  scope: Pick<ConversationScope, "tenant" | "jurisdiction" | "conversationRandom">,
) => ConversationRpc;

/** The tenant's ledger. @throws ObjectUnavailableError, on which a request with limits is refused, never let through. */
export interface LedgerClient {
  reserve(input: ReserveInput): Promise<ReserveResult>;
  settle(input: SettleInput): Promise<void>;
}

/** What the edge asks of a receipt; the adapter signs and encodes it. */
export interface ReceiptFacts {
  readonly requestId: string;
  readonly jurisdiction: Jurisdiction;
  readonly hostname: string | null;
  readonly colo: string | null;
  /** Keyed hash of the tenant; null before it is known. */
  readonly tenantTag: string | null;
  /** The route's pattern. */
  readonly api: string | null;
  /** `ok`, `streaming` or an error code. */
  readonly outcome: string | null;
  /** Set once a conversation's object took part. */
  readonly hasObject: boolean;
  readonly cell: CellDescription | null;
  readonly shard: string | null;
  readonly rejected: readonly { readonly id: string; readonly reason: string }[];
  readonly nowMs: number;
}

/** Signed, content-free proof of where a request was handled: the value of `x-meridian-receipt`. */
export interface Receipts {
  sign(facts: ReceiptFacts): Promise<string>;
  /** The public keys, as a JWKS. */
  readonly publicKeys: unknown;
}

/** One choice of cells, best first; empty when none can take the prompt. */
export interface CellChoice {
  readonly cells: readonly CellDescription[];
}

/** What cells are ranked by. */
export interface CellQuestion {
  readonly jurisdiction: Jurisdiction;
  readonly model: string;
  readonly priority: TenantDescription["priority"];
  readonly affinityKey: string;
  readonly homeCell: CellId | null;
  /** Of the client; null: no cell is nearer than another. */
  readonly position: Position | null;
}

/**
 * Ranks the cells of the jurisdiction that serve the model. Never waits for the network; hints are refreshed in the
 * background.
 */
export type RankCells = (
  question: CellQuestion,
  waitUntil: (work: Promise<unknown>) => void,
) => CellChoice;

/** Everything that the app is built from. */
export interface EdgeDeps {
  readonly topology: Topology;
  readonly environment: "development" | "production";
  /** Whether `wrangler dev` stands in front of this Worker. */
  readonly isBehindDevProxy: boolean;
  readonly now: () => number;
  /** 16 hex digits and 32 hex digits come from here: ids of requests and traces. */
  readonly randomHex: (digits: number) => string;
  readonly sha256Hex: (bytes: Uint8Array) => Promise<string>;
  readonly identifiers: IdentifierPort;
  readonly verifyCredential: VerifyCredential;
  readonly cells: CellClient;
  readonly cellAdmin: CellAdmin;
  readonly rankCells: RankCells;
  readonly openConversation: OpenConversation;
  readonly ledger: LedgerClient;
  readonly receipts: Receipts;
  readonly log: Log;
}
