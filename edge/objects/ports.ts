import type { ConversationPolicy } from "#shared/conversation/policy.ts";
import type { JournalSegment } from "#shared/conversation/rpc.ts";
import type { ObjectPin } from "#shared/config/topology.ts";
import type { HistoryCommand, HistoryReply } from "#shared/protocol/internal/history.ts";
import type { TurnOutcome } from "#shared/protocol/internal/turn-outcome.ts";
import type { CellId, Jurisdiction } from "#shared/residency/brands.ts";

/** What a cell knows of a turn that the object asks for. */
export type PullReply =
  | {
      readonly kind: "frames";
      /** Client frames after the seq that was asked for; null when there are none yet. */
      readonly segment: JournalSegment | null;
      /** Set when the turn has ended. */
      readonly outcome: TurnOutcome | null;
    }
  /** The cell answered that it does not know this attempt of the turn. */
  | { readonly kind: "unknown" }
  | { readonly kind: "unreachable" };

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
  pullTurn(cell: CellId, turnId: string, attempt: number, afterSeq: number): Promise<PullReply>;
  /** Writes one allow-listed log line: an event name, ids and counts, never content. */
  log(event: string, fields: Readonly<Record<string, string | number | boolean>>): void;
}
