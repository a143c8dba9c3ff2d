import type { ErrorOutcome } from "../errors/gateway-error.ts";
import type { DeltaEvent, EngineEvent } from "../protocol/engine-event.ts";
import type { EngineRequest } from "../protocol/internal/turn-request.ts";
import type { RejectedCandidate } from "../protocol/internal/turn-outcome.ts";
import type { JsonObject } from "../protocol/json.ts";
import type { Usage } from "../protocol/usage.ts";
import type { ShardId } from "../residency/brands.ts";
import type { TryPlan } from "../overload/try-plan.ts";
import type { ContinuationAbility } from "./continuation.ts";
import type { NoShardReason, ShardFailure } from "./turn-failure.ts";

/** What happens to a turn. Those with `try` come from that dispatch and are ignored once another has begun. */
export type TurnEvent =
  | { readonly kind: "start" }
  | {
      readonly kind: "shardChosen";
      readonly shard: ShardId;
      readonly rejected: readonly RejectedCandidate[];
      readonly queueWaitMs: number;
      /** How the shard's engine can go on with an answer that another one began. */
      readonly ability: ContinuationAbility;
      /** Tokens of prompt and answer together that the model takes. */
      readonly contextTokensMax: number;
      /** When the dispatch is late; absent where nothing is predicted. */
      readonly plan?: TryPlan;
    }
  | { readonly kind: "hedgeChosen"; readonly shard: ShardId; readonly plan?: TryPlan }
  /** No second shard has room at once. */
  | { readonly kind: "noHedge" }
  | {
      readonly kind: "noShard";
      readonly reason: NoShardReason;
      readonly rejected: readonly RejectedCandidate[];
      readonly retryAfterMs?: number;
    }
  | { readonly kind: "engine"; readonly try: number; readonly event: EngineEvent }
  /** The whole answer of an API without streaming (embeddings). */
  | {
      readonly kind: "document";
      readonly try: number;
      readonly body: JsonObject;
      readonly usage: Usage;
    }
  | { readonly kind: "shardFailed"; readonly try: number; readonly failure: ShardFailure }
  /** `isPaused`: nothing is read from the shard because the client does not read; the shard is not to blame. */
  | { readonly kind: "tick"; readonly isPaused: boolean }
  /** The turn is given up from outside: with an error when it is our doing, with null when the client went. */
  | { readonly kind: "abort"; readonly error: ErrorOutcome | null }
  /** The cell ends before the turn does: another cell may go on with it. */
  | { readonly kind: "handOver"; readonly error: ErrorOutcome };

/** How a dispatch ended, for the shard's slot and its breaker. */
export type TryResult =
  | { readonly kind: "succeeded" }
  | { readonly kind: "aborted" }
  | {
      readonly kind: "failed";
      readonly failure: ShardFailure;
    };

/**
 * How a hedge ended: its first token came first; the other's did; it failed first; the other failed and it is the answer's
 * shard now; the turn ended before either spoke.
 */
export type HedgeResult = "won" | "lost" | "failed" | "replaced" | "dropped";

/** What the shell does. `finish` and `fail` are the last effects of a turn, and one of them always comes. */
export type TurnEffect =
  | {
      readonly kind: "chooseShard";
      readonly excluded: readonly ShardId[];
      /** Of a retry, which the cell's budget pays for: how long it waits, ms. */
      readonly retryDelayMs?: number;
      /** Of a begun answer that waits: for a shard that has shown life since it last failed, as long as it takes. */
      readonly isPatient?: boolean;
    }
  /** A second shard, if one has room at once. */
  | { readonly kind: "chooseHedge"; readonly excluded: readonly ShardId[] }
  /** The hedge's shard was found too late: its place is given back. */
  | { readonly kind: "returnHedge" }
  | { readonly kind: "hedgeEnded"; readonly result: HedgeResult }
  /** Nobody waits for the choice any more. */
  | { readonly kind: "stopChoosing" }
  | {
      readonly kind: "dispatch";
      readonly try: number;
      readonly shard: ShardId;
      /** Of the engine: a chat may be continued as a completion. */
      readonly path: EngineRequest["path"];
      readonly body: JsonObject;
    }
  /** Ends the shard's request at once; without effect when it has ended by itself. */
  | { readonly kind: "abortShard"; readonly try: number }
  | {
      readonly kind: "releaseShard";
      readonly try: number;
      readonly shard: ShardId;
      readonly result: TryResult;
    }
  /** Forgets what was rendered; only while the client has seen nothing of it. */
  | { readonly kind: "restartAnswer" }
  /** Another shard goes on with what the client has; nothing of it is sent again. */
  | { readonly kind: "seam" }
  | { readonly kind: "deliver"; readonly delta: DeltaEvent }
  | { readonly kind: "finish"; readonly usage: Usage; readonly document: JsonObject | null }
  | {
      readonly kind: "fail";
      readonly status: "failed" | "cancelled";
      readonly error: ErrorOutcome;
      /** Whether another cell may go on: the shortage is this cell's own. */
      readonly mayMove: boolean;
    };

/** Why a step did what it did: metric label, log field and assertion. */
export type TurnStepReason =
  | "started"
  | "dispatched"
  | "refused"
  | "firstToken"
  | "delivered"
  | "noted"
  | "retried"
  | "hedged"
  | "covered"
  | "diverged"
  | "completed"
  | "clientFault"
  | "triesExhausted"
  | "interrupted"
  | "waiting"
  | "waitedOut"
  | "deadlineExceeded"
  | "aborted"
  | "ignored";
