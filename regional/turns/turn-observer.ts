import type { TryResult } from "#shared/conversation/turn-events.ts";
import type { TurnStep } from "#shared/conversation/turn-ending.ts";
import type { TurnState } from "#shared/conversation/turn-state.ts";
import type { TurnOutcome } from "#shared/protocol/internal/turn-outcome.ts";
import type { TurnRequest } from "#shared/protocol/internal/turn-request.ts";
import type { ShardId } from "#shared/residency/brands.ts";
import type { SlotReply } from "../scheduler/scheduler.ts";

/** Told what happens to turns: metrics, logs, usage. Synchronous; it must not throw and must not wait. */
export interface TurnObserver {
  /** A shard was chosen, or none; before the prompt goes there. */
  decided(request: TurnRequest, reply: SlotReply): void;
  firstToken(request: TurnRequest, state: TurnState): void;
  /** Another shard has gone on with a begun answer. */
  continued(request: TurnRequest, state: TurnState): void;
  /** No shard may go on with a begun answer: it waits for one, or it has waited as long as it may. */
  waits(request: TurnRequest, step: TurnStep): void;
  /** A whole answer of the shard had no usage: what is billed is the cell's own count. */
  estimated(request: TurnRequest, shard: ShardId): void;
  tryEnded(request: TurnRequest, shard: ShardId, result: TryResult): void;
  ended(request: TurnRequest, outcome: TurnOutcome): void;
}
