import type { TurnConditions, TurnElsewhere } from "#shared/conversation/turn-conditions.ts";
import type { HedgeResult } from "#shared/conversation/turn-events.ts";
import type { TryPlan } from "#shared/overload/try-plan.ts";
import type { TurnRequest } from "#shared/protocol/internal/turn-request.ts";
import type { Slot } from "../scheduler/scheduler.ts";

/** The cell's budgets as its turns see them. Synchronous. */
export interface TurnGuards {
  /** What the steps of a turn may count on, read anew each time. Ask once for a turn. */
  conditions(request: TurnRequest, elsewhere: () => TurnElsewhere): TurnConditions;
  /** Plans a dispatch; `mayHedge`: nothing of the turn was said or hedged yet. */
  plan(request: TurnRequest, slot: Pick<Slot, "shard" | "predicted">, mayHedge: boolean): TryPlan;
  /** A turn was dispatched for the first time. */
  dispatched(request: TurnRequest): void;
  retried(): void;
  hedged(request: TurnRequest): void;
  hedgeEnded(result: HedgeResult): void;
  /** A shard has given its first token, `ttftMs` after its dispatch. */
  spoke(slot: Pick<Slot, "shard" | "predicted">, ttftMs: number): void;
}
