import { defaultStartPolicy, startShare, startSlots } from "#shared/admission/start-share.ts";
import { breakerWeight, isAdmitting, viewAt } from "#shared/breaker/breaker.ts";
import type { BreakerPolicy } from "#shared/breaker/breaker-policy.ts";
import { newBreaker } from "#shared/breaker/breaker-state.ts";
import type { BreakerState } from "#shared/breaker/breaker-state.ts";
import type { ShardDescription } from "#shared/config/topology.ts";
import type { Jurisdiction, ShardId } from "#shared/residency/brands.ts";
import { errorRatioAt, neutralErrorRatio } from "#shared/routing/error-ratio.ts";
import type { ErrorRatio } from "#shared/routing/error-ratio.ts";
import { foreignAt, reportWeight } from "#shared/routing/foreign-load.ts";
import type { ForeignLoad } from "#shared/routing/foreign-load.ts";
import { noTokenRate } from "#shared/routing/held-tokens.ts";
import type { TokenRate } from "#shared/routing/held-tokens.ts";
import { newMoveBudget } from "#shared/routing/move-budget.ts";
import type { MoveBudget } from "#shared/routing/move-budget.ts";
import type { ShardSpeed, ShardState } from "#shared/routing/shard-state.ts";
import { startSpeed } from "#shared/routing/speed-profiles.ts";
import type { LifecycleView } from "#shared/warming/shard-lifecycle.ts";

/** Batch at which a token's price is taken: engines are bought to run about this full (our choice). */
const pricedBatch = 32;

/** What a request of others counts as, tokens: a short prompt and 2 × a usual answer (our choice; nobody tells more). */
const foreignWorkTokens = 1_000;

/** What the cell has sent to a shard and not seen the end of. Exact: every dispatch goes through the book. */
export interface OwnLoad {
  inFlight: number;
  /** Prompt and expected answer of each request. */
  kvTokens: number;
  /** Uncached prompt tokens whose first token is not there yet. */
  pendingPrefillTokens: number;
  workTokens: number;
  /** Estimated prompt tokens, cached ones included. */
  promptTokens: number;
}

/** One shard of the book. */
export interface ShardEntry {
  readonly description: ShardDescription;
  /** Position within the shards of its model. */
  readonly position: number;
  readonly own: OwnLoad;
  breaker: BreakerState;
  saturatedUntilMs: number;
  isDraining: boolean;
  /** Whether its last sign was one of life. Until it gave one it is not counted on; it may still be tried. */
  isAlive: boolean;
  /** When a prompt failed there that nothing has been heard of it since, ms; null: it has shown life since, or none failed. */
  doubtedAtMs: number | null;
  /** Moves that conversations may still make away from it. */
  moves: MoveBudget;
  /** Whether a health check failed, and the shard has not been taken back for its return since. */
  wasGone: boolean;
  ratio: ErrorRatio;
  /** What it does for others than this cell, as far as it said. */
  foreign: ForeignLoad | null;
  /** Tokens that it is sent to compute and keep. */
  tokenRate: TokenRate;
  speed: ShardSpeed;
  readonly usdPerMillionInputTokens: number;
  readonly usdPerMillionOutputTokens: number;
}

/** A shard that nothing is known of but its description. */
export function createShardEntry(description: ShardDescription, position: number): ShardEntry {
  const { backend, pricePerHourMicroUsd } = description;
  const factor = backend.kind === "simulated" ? (backend.speed ?? 1) : 1;
  const speed = startSpeed(backend.profile, factor);
  const usdPerSecond = pricePerHourMicroUsd / 1e6 / 3_600;
  const stepSeconds = speed.stepFloorSeconds + speed.sequenceSeconds * pricedBatch;
  return {
    description,
    position,
    own: { inFlight: 0, kvTokens: 0, pendingPrefillTokens: 0, workTokens: 0, promptTokens: 0 },
    breaker: newBreaker(),
    saturatedUntilMs: 0,
    isDraining: false,
    // Asking a shard that its platform takes down when nobody asks would keep it up: prompts alone tell of it.
    isAlive: description.scaleToZeroSeconds !== undefined,
    doubtedAtMs: null,
    moves: newMoveBudget(0),
    wasGone: false,
    ratio: neutralErrorRatio,
    foreign: null,
    tokenRate: noTokenRate,
    speed,
    usdPerMillionInputTokens: (usdPerSecond / speed.prefillTokensPerSecond) * 1e6,
    usdPerMillionOutputTokens: ((usdPerSecond * stepSeconds) / pricedBatch) * 1e6,
  };
}

/** What every shard of a model has in common. */
export interface ShardSurroundings {
  readonly jurisdiction: Jurisdiction;
  readonly contextTokensMax: number;
  readonly policy: BreakerPolicy;
  /** When the cell's process began, ms; null where nobody can have sent anything before it. */
  readonly startedAtMs: number | null;
  /** What the shard's answers leave of its weight, 0..1. */
  readonly healthOf: (shard: ShardId) => number;
  /** Whether it runs. */
  readonly lifeOf: (shard: ShardId, nowMs: number) => LifecycleView;
}

/** The shard as the selection sees it at `nowMs`. */
export function stateOf(
  entry: ShardEntry,
  { contextTokensMax, healthOf, jurisdiction, lifeOf, policy, startedAtMs }: ShardSurroundings,
  nowMs: number,
): ShardState {
  const { breaker, description, own } = entry;
  const { id, kvTokensMax, model, revision } = description;
  const foreign = foreignAt(entry.foreign, nowMs);
  const life = lifeOf(id, nowMs);
  const share =
    startedAtMs === null
      ? 1
      : startShare(startedAtMs, entry.foreign?.atMs ?? null, nowMs, defaultStartPolicy);
  const concurrentRequestsMax = startSlots(description.concurrentRequestsMax, share);
  return {
    id,
    model,
    revision,
    jurisdiction,
    contextTokensMax,
    isDraining: entry.isDraining || life.reason === "scaledDown",
    // Half open, no prompt is risked on a shard that does not even answer a probe.
    isAdmitting:
      life.lifecycle !== "failed" &&
      isAdmitting(breaker, nowMs) &&
      (entry.isAlive || viewAt(breaker, nowMs).kind === "closed"),
    readyInMs: life.readyInMs ?? 0,
    weight:
      Math.min(breakerWeight(breaker, nowMs, policy), healthOf(id)) *
      reportWeight(entry.foreign, nowMs),
    speed: entry.speed,
    replicas: 1,
    concurrentRequestsMax,
    kvTokensMax,
    // A shard that has just said that it is full is believed for a moment.
    inFlight:
      nowMs < entry.saturatedUntilMs ? concurrentRequestsMax : own.inFlight + foreign.inFlight,
    kvTokens: own.kvTokens + foreign.kvTokens,
    pendingPrefillTokens: own.pendingPrefillTokens,
    workTokens: own.workTokens + foreign.inFlight * foreignWorkTokens,
    errorRatio: errorRatioAt(entry.ratio, nowMs),
    roundTripSeconds: 0,
    usdPerMillionInputTokens: entry.usdPerMillionInputTokens,
    usdPerMillionOutputTokens: entry.usdPerMillionOutputTokens,
  };
}

/**
 * Whether nothing says that the shard is there again: a prompt failed there last, or a probe did. One whose platform takes it down
 * when idle is not probed: it is believed again after the time that a breaker would keep it away at first.
 */
export function isInDoubt(
  { description, doubtedAtMs, isAlive }: ShardEntry,
  nowMs: number,
  { openMs }: BreakerPolicy,
): boolean {
  if (doubtedAtMs === null) return !isAlive;
  return description.scaleToZeroSeconds === undefined || nowMs - doubtedAtMs < openMs;
}
