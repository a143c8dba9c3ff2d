import type { RunningWork } from "#shared/admission/model-admission.ts";
import type { TurnStanding } from "#shared/admission/model-queue.ts";
import type { LateTurn } from "#shared/conversation/turn-lateness.ts";
import type { HedgeState } from "#shared/conversation/turn-state.ts";
import type { TryPlan } from "#shared/overload/try-plan.ts";
import type { HedgeCandidate } from "#shared/overload/turn-budgets.ts";
import type { ShardId } from "#shared/residency/brands.ts";
import type { Dispatch } from "./sim-cell.ts";
import { simModel } from "./sim-shard.ts";
import type { Arrival } from "./workload.ts";

/** A turn on one shard. */
export interface SimTry {
  /** Its number in the replay, also in the shard's engine. */
  readonly id: number;
  readonly turn: SimTurn;
  readonly dispatch: Dispatch;
  readonly work: RunningWork;
  readonly plan: TryPlan | null;
  /** Prompt tokens that its engine found in its cache. */
  cachedTokens: number;
  /** Tokens that were seen of it, and when there were more for the last time. */
  pieces: number;
  lastAtMs: number;
}

/** A request between its arrival and its end, as the turn machine has it. */
export interface SimTurn {
  readonly id: number;
  readonly arrival: Arrival;
  /** What is left of prompt and answer at the cell's level. */
  inputTokens: number;
  outputTokens: number;
  chunks: readonly number[];
  /** Of the shards that may answer it. */
  model: string;
  /** Longest answer that a level allows; null: as asked. */
  outputTokensMax: number | null;
  /** Generated on shards that were given up: part of the prompt since. */
  base: number;
  isBegun: boolean;
  continuations: number;
  dispatches: number;
  triesInVain: number;
  /** Shards that are not to be chosen. */
  excluded: ShardId[];
  try: SimTry | null;
  hedge: HedgeState["kind"];
  second: SimTry | null;
  /** Whether a level kept a hedge of it back. */
  wasHedgeHeld: boolean;
}

/** A turn that has just come. */
export function newSimTurn(id: number, arrival: Arrival): SimTurn {
  const { chunks, inputTokens, outputTokens } = arrival.request;
  return {
    id,
    arrival,
    inputTokens,
    outputTokens,
    chunks,
    model: simModel,
    outputTokensMax: null,
    base: 0,
    isBegun: false,
    continuations: 0,
    dispatches: 0,
    triesInVain: 0,
    excluded: [],
    try: null,
    hedge: "none",
    second: null,
    wasHedgeHeld: false,
  };
}

/** Whose it is and the class that it waits in: a begun answer is never held up by new ones. */
export function standingOf({ arrival, isBegun }: SimTurn): TurnStanding {
  const priority = isBegun ? "critical" : arrival.priority;
  return { tenant: `${arrival.tenant}`, priority, hasBegun: isBegun };
}

/** The turn as its lateness is judged. */
export function lateTurnOf(turn: SimTurn, tried: SimTry): LateTurn {
  const { continuations, hedge, isBegun, triesInVain } = turn;
  const { firstAtMs, atMs: dispatchedAtMs } = tried.dispatch;
  const { lastAtMs, pieces, plan } = tried;
  return {
    isBegun,
    triesInVain,
    continuations,
    hedge: { kind: hedge },
    try: {
      dispatchedAtMs,
      firstAtMs,
      lastAtMs,
      pieces,
      plan,
      hasDelivered: firstAtMs !== null,
    },
  };
}

/** The turn as a second shard may be asked for it. */
export function hedgeCandidateOf({ arrival, base, inputTokens }: SimTurn): HedgeCandidate {
  return {
    priority: arrival.priority,
    hop: 0,
    isResumed: false,
    isEmbedding: false,
    promptTokens: inputTokens + base,
  };
}
