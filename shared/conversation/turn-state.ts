import type { RejectedCandidate } from "../protocol/internal/turn-outcome.ts";
import type { TurnRequest } from "../protocol/internal/turn-request.ts";
import type { JsonObject } from "../protocol/json.ts";
import type { Usage } from "../protocol/usage.ts";
import type { ShardId } from "../residency/brands.ts";
import type { ShardFailure } from "./turn-failure.ts";

/** What was generated of one choice: enough to go on from elsewhere. */
export interface ChoiceState {
  readonly text: string;
  /** Token ids as far as the engine gives them. Append-only: later states share the array, `tokenCount` is each one's end. */
  readonly tokenIds: readonly number[];
  readonly tokenCount: number;
  readonly hasToolCalls: boolean;
  readonly hasReasoning: boolean;
  readonly finishReason: string | null;
}

/** Where a turn stands. */
export type TurnPhase = "idle" | "choosing" | "running" | "ended";

/**
 * One turn on one cell as plain data. A state is used once: {@link stepTurn} gives the next one, which may share the
 * append-only arrays of the old.
 */
export interface TurnState {
  readonly v: 1;
  readonly phase: TurnPhase;
  /** Dispatches so far; the number of the current one. Events of earlier ones are ignored. */
  readonly tries: number;
  readonly shard: ShardId | null;
  /** Shards that this turn was dispatched to, in order. */
  readonly tried: readonly ShardId[];
  readonly rejected: readonly RejectedCandidate[];
  readonly lastFailure: ShardFailure | null;
  /** Whether something of the answer has gone to the client's stream. */
  readonly isBegun: boolean;
  readonly choices: readonly ChoiceState[];
  readonly promptTokenIds: readonly number[] | null;
  readonly characters: number;
  readonly deltas: number;
  readonly usage: Usage | null;
  /** The whole answer of an API without streaming (embeddings). */
  readonly document: JsonObject | null;
  readonly startedAtMs: number;
  readonly queueWaitMs: number;
  readonly dispatchedAtMs: number;
  readonly firstTokenAtMs: number | null;
  readonly lastTokenAtMs: number;
}

/** A turn that has not begun. */
export function initialTurnState(): TurnState {
  return {
    v: 1,
    phase: "idle",
    tries: 0,
    shard: null,
    tried: [],
    rejected: [],
    lastFailure: null,
    isBegun: false,
    choices: [],
    promptTokenIds: null,
    characters: 0,
    deltas: 0,
    usage: null,
    document: null,
    startedAtMs: 0,
    queueWaitMs: 0,
    dispatchedAtMs: 0,
    firstTokenAtMs: null,
    lastTokenAtMs: 0,
  };
}

/** What a new dispatch forgets of the one before: everything that its shard had said. */
export function forgetAnswer(state: TurnState): TurnState {
  return {
    ...state,
    isBegun: false,
    choices: [],
    promptTokenIds: null,
    characters: 0,
    deltas: 0,
    usage: null,
    document: null,
    firstTokenAtMs: null,
  };
}

/**
 * Tokens to bill: the engine's count, or, from an engine that gives none, the estimate of the prompt and one token per
 * piece of the answer.
 */
export function usageOf(state: TurnState, request: TurnRequest): Usage {
  if (state.usage !== null) return state.usage;
  if (state.deltas === 0) {
    return { promptTokens: 0, completionTokens: 0, cachedTokens: 0, reasoningTokens: 0 };
  }
  const counted = state.choices.reduce((sum, choice) => sum + choice.tokenCount, 0);
  return {
    promptTokens: state.promptTokenIds?.length ?? request.engine.promptTokensEstimate,
    completionTokens: Math.max(counted, state.deltas),
    cachedTokens: 0,
    reasoningTokens: 0,
  };
}
