import type { ErrorOutcome } from "../errors/gateway-error.ts";
import type { EngineRequest, Rendering, TurnResume } from "../protocol/internal/turn-request.ts";
import type { ItemRecord, TurnOutcome } from "../protocol/internal/turn-outcome.ts";
import type { Priority } from "../config/topology.ts";
import type { HomeView, MoveDestination } from "./move-state.ts";
import type {
  CellId,
  ConversationId,
  Jurisdiction,
  RegionId,
  ShardId,
  TenantId,
  TurnId,
} from "../residency/brands.ts";

/**
 * What crosses RPC between the edge Worker and a Conversation object: plain data, outcomes as unions, never a thrown
 * class. Every call carries the scope, which the object asserts against its own name.
 */
export interface ConversationScope {
  readonly tenant: TenantId;
  readonly jurisdiction: Jurisdiction;
  readonly conversationId: ConversationId;
  /** The first part of the identifier's random; with tenant and jurisdiction it names the object. */
  readonly conversationRandom: string;
  readonly requestId: string;
  readonly traceparent: string;
}

/** The tenant's promise that two requests are one. */
export interface IdempotencyClaim {
  /** Scope is tenant and route: `<route>;<key>`. */
  readonly key: string;
  /** SHA-256 of the raw body, hex. */
  readonly bodySha256: string;
}

/**
 * A request as the object keeps it, so that it can lease the turn again without the Worker: everything of a TurnRequest
 * but the history. `engine.body` lacks `messages`; they are made from the conversation's items at lease time.
 */
export interface TurnTemplate {
  readonly engine: EngineRequest;
  readonly rendering: Rendering;
  readonly priority: Priority;
  readonly affinityKey: string;
}

/** Opens a turn. */
export interface BeginTurnInput {
  readonly scope: ConversationScope;
  readonly turnId: TurnId;
  /** Random part of the turn's ids; the key under which responses are found. */
  readonly turnRandom: string;
  readonly idempotency: IdempotencyClaim | null;
  /** `create`: make the conversation when it does not exist. `existing`: refuse with `not_found`. */
  readonly mode: "create" | "existing";
  /**
   * For `previous_response_id`: the turn that this one follows. When it is not the last one, or another turn runs, the
   * reply is `fork`: the caller starts a conversation of its own with a copy of the history up to that turn.
   */
  readonly parentTurnRandom: string | null;
  /** History that the new conversation starts with (a fork's copy); only with `create`. */
  readonly seedItems: readonly ItemRecord[];
  readonly newItems: readonly ItemRecord[];
  readonly template: TurnTemplate;
  /** Whether the answer can be retrieved and resumed by id afterwards (`store`). */
  readonly isStored: boolean;
  /** How long the stream can be read again after its end, ms; the tenant's, so that it holds for all of its turns. */
  readonly streamsKeptMs: number;
  /** Runs without a client: the object puts the turn to its cell and reads it; the reply is `background`. */
  readonly isBackground: boolean;
  /** What the tenant's ledger reserved for the turn; the object settles it at the end. Null when there are no limits. */
  readonly reservationId: string | null;
  readonly deadlineMs: number;
  /** Cells of the jurisdiction that may run it, best first; the object's home cell is taken when it is among them. */
  readonly cells: readonly CellId[];
}

/** Permission to run a turn on one cell, fenced by (incarnation, attempt). */
export interface TurnLease {
  readonly turnId: TurnId;
  readonly incarnation: number;
  readonly attempt: number;
  readonly cell: CellId;
  readonly homeShard: ShardId | null;
  /** The history, the turn's new items last. */
  readonly items: readonly ItemRecord[];
  readonly deadlineMs: number;
  /** What the client was given by earlier attempts; null while that is nothing. */
  readonly resume: TurnResume | null;
}

/** A turn that exists already, for an idempotent repeat or a look-up. */
export interface TurnView {
  readonly turnId: TurnId;
  readonly turnRandom: string;
  readonly publicId: string;
  readonly state: "running" | "completed" | "incomplete" | "failed" | "cancelled";
  readonly attempt: number;
  readonly cell: CellId;
  readonly rendering: Rendering;
  readonly isBackground: boolean;
  /** Running, but no cell has taken it yet. */
  readonly isQueued: boolean;
  /** Frames after this seq may differ from what an earlier reader saw; null when none can. */
  readonly restartedAfterSeq: number | null;
  readonly createdAtMs: number;
  /** The answer as JSON text; null while it runs and when it failed. */
  readonly body: string | null;
  readonly error: ErrorOutcome | null;
  readonly shard: ShardId | null;
}

export type BeginTurnResult =
  | { readonly kind: "lease"; readonly lease: TurnLease }
  /** The turn runs without the caller. */
  | { readonly kind: "background"; readonly turn: TurnView }
  /** The turn exists already: the idempotency key was used before with the same body, or this very call was made before. */
  | { readonly kind: "replay"; readonly turn: TurnView }
  | { readonly kind: "fork"; readonly items: readonly ItemRecord[] }
  | { readonly kind: "refused"; readonly error: ErrorOutcome };

/** Frames on their way to the journal: bytes exactly as the client gets them, `fromSeq`..`toSeq` gapless. */
export interface JournalSegment {
  readonly fromSeq: number;
  readonly toSeq: number;
  readonly text: string;
}

export type FenceReply =
  | { readonly kind: "ok" }
  /** A higher attempt holds the turn; stop relaying. */
  | { readonly kind: "superseded" }
  | { readonly kind: "unknownTurn" };

export interface CheckpointInput {
  readonly scope: ConversationScope;
  readonly turnId: TurnId;
  readonly attempt: number;
  readonly segment: JournalSegment;
}

export interface CompleteTurnInput {
  readonly scope: ConversationScope;
  readonly turnId: TurnId;
  readonly attempt: number;
  /** Frames not yet checkpointed, the terminal ones included; null when there are none. */
  readonly segment: JournalSegment | null;
  readonly outcome: TurnOutcome;
}

export interface FailoverInput {
  readonly scope: ConversationScope;
  readonly turnId: TurnId;
  readonly attempt: number;
  /** Frames that the Worker has and the object has not. */
  readonly segment: JournalSegment | null;
  readonly reason: string;
  /** Continuations on other shards that the failed cell reported within this attempt. */
  readonly continuations: number;
  /** Tokens that the frames given to the client hold beyond one for each piece, as far as the cells told. */
  readonly surplusTokens: number;
  readonly cells: readonly CellId[];
}

export type FailoverResult =
  | { readonly kind: "lease"; readonly lease: TurnLease }
  | { readonly kind: "superseded" }
  | { readonly kind: "stop"; readonly error: ErrorOutcome };

/** A conversation as the Conversations API shows it. */
export interface ConversationView {
  readonly createdAtMs: number;
  readonly metadata: Readonly<Record<string, string>>;
}

export type ConversationResult<T> =
  | { readonly kind: "ok"; readonly value: T }
  | { readonly kind: "refused"; readonly error: ErrorOutcome };

/** A page of items, in the order asked for. */
export interface ItemPage {
  readonly items: readonly ItemRecord[];
  readonly hasMore: boolean;
}

export interface ListItemsInput {
  readonly scope: ConversationScope;
  readonly order: "asc" | "desc";
  /** Item id to start after, exclusive. */
  readonly after: string | null;
  readonly limit: number;
}

/** Begins a move. */
export interface MigrateInput {
  readonly scope: ConversationScope;
  readonly moveId: string;
  /** Destinations that the operator's words fit, best first; all of the conversation's jurisdiction. */
  readonly destinations: readonly MoveDestination[];
  /** The region of every cell of the jurisdiction. */
  readonly regions: Readonly<Record<string, RegionId>>;
}

/** The RPC surface of a Conversation object. Nothing else of it can be called through a stub. */
export interface ConversationRpc {
  /** Creates the conversation with its first items; durable on return, repeatable. */
  create(input: {
    readonly scope: ConversationScope;
    readonly idempotency: IdempotencyClaim | null;
    readonly metadata: Readonly<Record<string, string>>;
    readonly items: readonly ItemRecord[];
    readonly cells: readonly CellId[];
  }): Promise<ConversationResult<ConversationView>>;
  describe(scope: ConversationScope): Promise<ConversationResult<ConversationView>>;
  /** Replaces the metadata; a repeat under its key answers as the first time and changes nothing. */
  updateMetadata(input: {
    readonly scope: ConversationScope;
    readonly idempotency: IdempotencyClaim | null;
    readonly metadata: Readonly<Record<string, string>>;
  }): Promise<ConversationResult<ConversationView>>;
  /** Erases all content here at once and in the database by the outbox; durable on return, repeatable. */
  erase(
    scope: ConversationScope,
  ): Promise<ConversationResult<{ readonly isDatabaseErased: boolean }>>;
  listItems(input: ListItemsInput): Promise<ConversationResult<ItemPage>>;
  readItem(input: {
    readonly scope: ConversationScope;
    readonly itemId: string;
  }): Promise<ConversationResult<ItemRecord>>;
  /** Adds items outside a turn; a repeat under its key must bring the same ids, and answers as the first time. */
  appendItems(input: {
    readonly scope: ConversationScope;
    readonly idempotency: IdempotencyClaim | null;
    readonly items: readonly ItemRecord[];
  }): Promise<ConversationResult<ItemPage>>;
  deleteItem(input: {
    readonly scope: ConversationScope;
    readonly itemId: string;
  }): Promise<ConversationResult<ConversationView>>;
  /**
   * Begins a move of the home and answers when it has ended, or after a few seconds with how far it is; the object goes on
   * with it by itself. A second one with the same destination joins, another one is refused.
   */
  migrate(input: MigrateInput): Promise<ConversationResult<HomeView>>;
  readHome(scope: ConversationScope): Promise<ConversationResult<HomeView>>;
  /** One transaction: idempotency, lock, items, turn, outbox, lease. Durable on return. */
  beginTurn(input: BeginTurnInput): Promise<BeginTurnResult>;
  /** Journals frames; at most one row. Durable on return. */
  checkpoint(input: CheckpointInput): Promise<FenceReply>;
  /** Ends the turn: items, usage, home shard, journal, outbox. Durable on return; repeatable. */
  completeTurn(input: CompleteTurnInput): Promise<FenceReply>;
  /**
   * Journals the segment, raises the attempt and leases another cell, with everything that the client was given. `stop` when
   * no other cell is left, or when the answer was continued as often as it may be.
   */
  failover(input: FailoverInput): Promise<FailoverResult>;
  /**
   * Ends a background turn: the cell is told before the reply, what was generated is billed, the input is withdrawn. A turn
   * that has ended is given back as it is. `refused: invalid_request` for a turn that is not in the background. Repeatable.
   */
  cancelTurn(input: {
    readonly scope: ConversationScope;
    readonly turnRandom: string;
  }): Promise<ConversationResult<TurnView>>;
  /** A turn by the random part of its ids. `refused: not_found` when it was not stored or was deleted. */
  readTurn(input: {
    readonly scope: ConversationScope;
    readonly turnRandom: string;
  }): Promise<ConversationResult<TurnView>>;
  /** The items that the turn was given (`input_items`), newest last. */
  readTurnInput(input: {
    readonly scope: ConversationScope;
    readonly turnRandom: string;
  }): Promise<ConversationResult<readonly ItemRecord[]>>;
  /** The whole history up to and including this turn, for a stateless turn that follows it. */
  readContext(input: {
    readonly scope: ConversationScope;
    readonly turnRandom: string | null;
  }): Promise<ConversationResult<readonly ItemRecord[]>>;
  /** Journaled frames with seq > `afterSeq`, with the turn's state; the text is exactly what a client saw. */
  readJournal(input: {
    readonly scope: ConversationScope;
    readonly turnRandom: string;
    readonly afterSeq: number;
  }): Promise<
    ConversationResult<{ readonly turn: TurnView; readonly text: string; readonly toSeq: number }>
  >;
  /** Forgets a stored response: it can no longer be retrieved; its items stay in the conversation. */
  deleteTurn(input: {
    readonly scope: ConversationScope;
    readonly turnRandom: string;
  }): Promise<ConversationResult<{ readonly isDeleted: true }>>;
}
