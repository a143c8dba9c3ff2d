import type { ConversationPolicy } from "#shared/conversation/policy.ts";
import type { StopReply } from "#shared/conversation/cancel-turn.ts";
import type { AttemptAddress, DispatchReply, PullFinding } from "#shared/conversation/watchdog.ts";
import type { ModelDescription, ObjectPin } from "#shared/config/topology.ts";
import type { HistoryCommand, HistoryReply } from "#shared/protocol/internal/history.ts";
import type { PrewarmReply, PrewarmRequest } from "#shared/protocol/internal/prewarm.ts";
import type { TurnRequest } from "#shared/protocol/internal/turn-request.ts";
import type { CellId, Jurisdiction, TenantId } from "#shared/residency/brands.ts";

/** A model as a jurisdiction serves it. */
export interface ServedModel {
  readonly model: ModelDescription;
  /** The jurisdiction's cells that have a shard of it, in the topology's order. */
  readonly cells: readonly CellId[];
}

/** What a turn used of what was reserved for it. */
export interface Settlement {
  readonly tenant: TenantId;
  readonly jurisdiction: Jurisdiction;
  readonly reservationId: string;
  readonly model: string;
  readonly promptTokens: number;
  readonly completionTokens: number;
}

/** What a Conversation object needs of the world outside its storage. Made by edge/deps.ts from the environment. */
export interface ConversationPorts {
  now(): number;
  readonly policy: ConversationPolicy;
  /** Where objects of this jurisdiction must be; null when the topology does not know it. */
  expectedPin(jurisdiction: Jurisdiction): ObjectPin | null;
  /** `enforce`: the object checks `ctx.id.jurisdiction` on every call. */
  readonly mode: "enforce" | "emulate";
  /**
   * Delivers to a cell of the region of `cell`, each in turn; `unavailable` when none answers in time. Never throws.
   * At least once: the database refuses what it has.
   */
  deliverHistory(cell: CellId, command: HistoryCommand): Promise<HistoryReply>;
  /** Tells the cell to stop a turn and forget its frames. `unreachable` is tried again later. Never throws. */
  abortTurn(cell: CellId, turnId: string, attempt: number): Promise<"aborted" | "unreachable">;
  /** Reads what the cell has of a turn, for a few seconds at most. Never throws. */
  pullTurn(attempt: AttemptAddress & { readonly afterSeq: number }): Promise<PullFinding>;
  /** Starts an attempt at its cell, or finds that it runs there; does not wait for its answer. Never throws. */
  dispatchTurn(request: TurnRequest, traceparent: string): Promise<DispatchReply>;
  /** Tells the cell to stop an attempt at once, and takes what it generated after `afterSeq`. Never throws. */
  stopTurn(attempt: AttemptAddress & { readonly afterSeq: number }): Promise<StopReply>;
  /** Lets the cell forget frames up to `seq`, which are journaled. Best effort; never throws. */
  acknowledge(attempt: AttemptAddress, seq: number): Promise<void>;
  /** Null when the jurisdiction does not serve the model (any more). */
  servedModel(jurisdiction: Jurisdiction, model: string): ServedModel | null;
  /** Has a cell compute the conversation's history ahead. Never throws; takes as long as the prefill does. */
  prewarm(
    cell: CellId,
    request: PrewarmRequest,
  ): Promise<PrewarmReply | { readonly kind: "unreachable" }>;
  /** SHA-256 of a text's UTF-8, hex. */
  sha256Hex(text: string): Promise<string>;
  /** Settles a reservation in the tenant's ledger, which takes it once. `unavailable` is tried again. Never throws. */
  settle(settlement: Settlement): Promise<"settled" | "unavailable">;
  /** Writes one allow-listed log line: an event name, ids and counts, never content. */
  log(event: string, fields: Readonly<Record<string, string | number | boolean>>): void;
}
