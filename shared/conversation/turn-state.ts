import type { RejectedCandidate } from "../protocol/internal/turn-outcome.ts";
import type { TurnRequest, TurnResume } from "../protocol/internal/turn-request.ts";
import type { JsonObject } from "../protocol/json.ts";
import type { Agreement } from "../protocol/resume/transcript.ts";
import type { DeltaEvent } from "../protocol/engine-event.ts";
import { noUsage } from "../protocol/usage.ts";
import type { Usage } from "../protocol/usage.ts";
import type { TryPlan } from "../overload/try-plan.ts";
import type { ShardId } from "../residency/brands.ts";
import { charactersOf, tokensOf, withDelta, withSurplus } from "./answer-so-far.ts";
import type { ChoiceState } from "./answer-so-far.ts";
import type { ShardFailure } from "./turn-failure.ts";

/** Where a turn stands. */
export type TurnPhase = "idle" | "choosing" | "running" | "ended";

/** Where the hedge of a turn stands. */
export type HedgeState =
  | { readonly kind: "none" }
  /** A shard is being looked for. */
  | { readonly kind: "choosing" }
  | {
      readonly kind: "running";
      readonly try: number;
      readonly shard: ShardId;
      readonly dispatchedAtMs: number;
      readonly plan: TryPlan | null;
    }
  /** It has ended, or there was no shard for it. */
  | { readonly kind: "spent" };

/** What one dispatch has given so far. */
export interface TryState {
  readonly dispatchedAtMs: number;
  /** When its first piece came; null before. */
  readonly firstAtMs: number | null;
  readonly lastAtMs: number;
  readonly pieces: number;
  /** When it is late; null where nothing is predicted. */
  readonly plan: TryPlan | null;
  /** Whether one of its pieces went on to the client. */
  readonly hasDelivered: boolean;
  /** Tokens of the answer that the shard was given as prompt. */
  readonly tokensBefore: number;
  /** Set while the answer is generated again from its start: what counts is what agrees. */
  readonly agreement: Agreement | null;
}

/**
 * One turn on one cell as plain data. A state is used once: {@link stepTurn} gives the next one, which may share the
 * append-only arrays and the agreement of the old.
 */
export interface TurnState {
  readonly v: 1;
  readonly phase: TurnPhase;
  /** The number of the current dispatch. Events of all others but the hedge are ignored. */
  readonly tries: number;
  /** Dispatches so far, hedges among them. */
  readonly dispatches: number;
  /** A second shard that is asked the same before the first token; one to a turn at most. */
  readonly hedge: HedgeState;
  readonly shard: ShardId | null;
  /** Shards that are not to be chosen: those tried since the answer last went on. */
  readonly excluded: readonly ShardId[];
  /** Dispatches since the answer last went on. */
  readonly triesInVain: number;
  /** Whether the shards tried may be tried again, because there are no others. */
  readonly isRelaxed: boolean;
  /** Until when a begun answer waits for a shard that can go on with it, ms; null while it does not, and again once it goes on. */
  readonly waitUntilMs: number | null;
  readonly rejected: readonly RejectedCandidate[];
  readonly lastFailure: ShardFailure | null;
  /** Whether something of the answer has gone to the client's stream, by this cell or by one before. */
  readonly isBegun: boolean;
  /** Seams in the answer so far, those before this cell included. */
  readonly continuations: number;
  /** Set once an engine refused to go on from what was generated. */
  readonly mustRegenerate: boolean;
  readonly choices: readonly ChoiceState[];
  readonly promptTokenIds: readonly number[] | null;
  readonly characters: number;
  /** Tokens that one choice may have; null where neither the client nor the topology says. */
  readonly tokensMax: number | null;
  /** Pieces delivered. */
  readonly deltas: number;
  readonly usage: Usage | null;
  /** The whole answer of an API without streaming (embeddings). */
  readonly document: JsonObject | null;
  readonly startedAtMs: number;
  readonly queueWaitMs: number;
  readonly firstTokenAtMs: number | null;
  /** Time from dispatch to the first token, ms; null while there is none. */
  readonly ttftMs: number | null;
  readonly try: TryState;
}

const noTry: TryState = {
  dispatchedAtMs: 0,
  firstAtMs: null,
  lastAtMs: 0,
  pieces: 0,
  plan: null,
  hasDelivered: false,
  tokensBefore: 0,
  agreement: null,
};

/** A dispatch that has just been made. */
export function beginTry(
  nowMs: number,
  plan: TryPlan | null,
  tokensBefore = 0,
  agreement: Agreement | null = null,
): TryState {
  return { ...noTry, dispatchedAtMs: nowMs, lastAtMs: nowMs, plan, tokensBefore, agreement };
}

/** A turn that has not begun. */
export function initialTurnState(): TurnState {
  return {
    v: 1,
    phase: "idle",
    tries: 0,
    dispatches: 0,
    hedge: { kind: "none" },
    shard: null,
    excluded: [],
    triesInVain: 0,
    isRelaxed: false,
    waitUntilMs: null,
    rejected: [],
    lastFailure: null,
    isBegun: false,
    continuations: 0,
    mustRegenerate: false,
    choices: [],
    promptTokenIds: null,
    characters: 0,
    tokensMax: null,
    deltas: 0,
    usage: null,
    document: null,
    startedAtMs: 0,
    queueWaitMs: 0,
    firstTokenAtMs: null,
    ttftMs: null,
    try: noTry,
  };
}

/** A turn that begins where an earlier attempt stopped; `deltas` are what its client has been given. */
export function resumedTurnState(
  deltas: readonly DeltaEvent[],
  usage: Usage | null,
  given: Pick<TurnResume, "continuations" | "surplusTokens">,
): TurnState {
  let choices: readonly ChoiceState[] = [];
  let characters = 0;
  for (const delta of deltas) {
    choices = withDelta(choices, delta);
    characters += charactersOf(delta);
  }
  return {
    ...initialTurnState(),
    isBegun: true,
    continuations: given.continuations,
    choices: withSurplus(choices, given.surplusTokens),
    characters,
    deltas: deltas.length,
    usage,
  };
}

/** A turn of which nothing is known any more but how it was tried; only while the client has seen nothing of it. */
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
    ttftMs: null,
  };
}

/**
 * Tokens to bill, each delivered token once: the engine's count, less what it was given of the answer as prompt; or, from an
 * engine that gives none, the estimate of the prompt and the answer's tokens as far as they are known.
 */
export function usageOf(state: TurnState, request: TurnRequest): Usage {
  if (state.usage !== null) {
    const { tokensBefore } = state.try;
    if (tokensBefore === 0) return state.usage;
    const { promptTokens, completionTokens, cachedTokens, reasoningTokens } = state.usage;
    const prompt = Math.max(0, promptTokens - tokensBefore);
    return {
      promptTokens: prompt,
      completionTokens: completionTokens + tokensBefore,
      cachedTokens: Math.min(prompt, cachedTokens),
      reasoningTokens,
    };
  }
  if (state.deltas === 0) return noUsage;
  return {
    promptTokens: state.promptTokenIds?.length ?? request.engine.promptTokensEstimate,
    completionTokens: state.choices.reduce((sum, choice) => sum + tokensOf(choice), 0),
    cachedTokens: 0,
    reasoningTokens: 0,
  };
}
