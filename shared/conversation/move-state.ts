import type { CellId, RegionId, ShardId } from "../residency/brands.ts";

/** How a move of a conversation may use time. Defaults with their reasons; tests and simulation pass their own. */
export interface MovePolicy {
  /** Until the destination has computed the history, ms; its share of prefill may be used by others first. */
  readonly warmingMsMax: number;
  /** Until a running turn has ended, ms. */
  readonly waitingMsMax: number;
  /** For which turns may be refused while the history is copied, ms. */
  readonly frozenMsMax: number;
  /** Pause before a call that failed is made again, ms, and times that it may fail in a row. */
  readonly retryMs: number;
  readonly failuresMax: number;
  /** Times that the old region may fail to answer before the move goes on without it: it may be gone for good. */
  readonly oldSealFailuresMax: number;
  /** Times that a copy that differs is made again. */
  readonly recopiesMax: number;
  /** Items and characters of one piece of the copy. */
  readonly copyItemsMax: number;
  readonly copyCharactersMax: number;
}

/**
 * 15 minutes of warming are 7 million tokens of the share of a 40,000 tokens/s shard; a turn may take an hour and most
 * end in minutes; copying runs at megabytes a second, so that 30 s are a conversation that is full.
 */
export const defaultMovePolicy: MovePolicy = {
  warmingMsMax: 900_000,
  waitingMsMax: 600_000,
  frozenMsMax: 30_000,
  retryMs: 500,
  failuresMax: 5,
  oldSealFailuresMax: 2,
  recopiesMax: 2,
  copyItemsMax: 500,
  copyCharactersMax: 4 * 1024 * 1024,
};

/** The steps of a move, in order. From `freezing` on no turn begins; from `copying` on none runs. */
export type MoveStep = "warming" | "freezing" | "copying" | "fencing" | "done" | "failed";

/** What the destination computed ahead, tokens of the prompt. */
export interface MovePrewarm {
  readonly promptTokens: number;
  readonly cachedTokens: number;
}

/** A move as the object keeps it: the one that is under way, or the last one. */
export interface ConversationMove {
  readonly v: 1;
  /** Tells one move from the next, so that a late reply of an earlier one changes nothing. */
  readonly moveId: string;
  readonly step: MoveStep;
  readonly fromCell: CellId | null;
  readonly fromShard: ShardId | null;
  readonly fromHistoryCell: CellId;
  readonly toCell: CellId;
  readonly toShard: ShardId | null;
  /** Whether the destination's region has another database. */
  readonly copiesHistory: boolean;
  /**
   * Whether the old region is to forget its copy. Not where its cell left the topology: nobody can say then which database
   * that was, and it may be the destination's.
   */
  readonly releasesOld: boolean;
  readonly prewarm: MovePrewarm | null;
  /** Whether the destination was emptied of what an earlier copy had left. */
  readonly isCleared: boolean;
  /** Items up to this seq are in the destination's database. */
  readonly copiedSeq: number;
  /** Whether the old region was told to refuse whatever was sent before. */
  readonly isOldSealed: boolean;
  readonly recopies: number;
  /** Calls of this step that failed in a row. */
  readonly failures: number;
  /** Not before this time, ms since the epoch. */
  readonly dueMs: number;
  readonly startedAtMs: number;
  /** When the step began that has a bound of its own. */
  readonly stepAtMs: number;
  readonly endedAtMs: number | null;
  /** Why it failed, from a closed list; null unless it did. */
  readonly reason: string | null;
}

/** Whether the move goes on. */
export function isMoving(move: ConversationMove | null | undefined): move is ConversationMove {
  return move !== null && move !== undefined && move.step !== "done" && move.step !== "failed";
}

/** Whether turns and changes of items must wait: the history is being copied, or is about to be. */
export function isFrozen(move: ConversationMove | null | undefined): boolean {
  return isMoving(move) && move.step !== "warming";
}

/** Where a conversation may go, as the topology of its jurisdiction has it. */
export interface MoveDestination {
  readonly cell: CellId;
  readonly region: RegionId;
  /** Null: the one that the cell would give to a turn. */
  readonly shard: ShardId | null;
  /** Models that are served there. */
  readonly models: readonly string[];
}

/** A move as operators see it. */
export interface MoveView {
  readonly moveId: string;
  readonly step: MoveStep;
  readonly fromCell: CellId | null;
  readonly fromShard: ShardId | null;
  readonly toCell: CellId;
  readonly toShard: ShardId | null;
  readonly copiesHistory: boolean;
  readonly items: number;
  readonly copiedItems: number;
  readonly prewarm: MovePrewarm | null;
  /** What the old region still has of the history; null when it was not copied. */
  readonly oldCopy: "kept" | "leaving" | "gone" | null;
  readonly startedAtMs: number;
  readonly endedAtMs: number | null;
  readonly reason: string | null;
}

/** Where a conversation is at home. */
export interface HomeView {
  readonly homeCell: CellId | null;
  readonly homeShard: ShardId | null;
  readonly historyCell: CellId;
  /** The move that is under way, or the last one. */
  readonly move: MoveView | null;
}
