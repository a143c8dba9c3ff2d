import { isAdmitting } from "#shared/breaker/breaker.ts";
import { admitAtLevel } from "#shared/overload/admit-at-level.ts";
import type { LevelRefusal } from "#shared/overload/admit-at-level.ts";
import { CellLevel } from "#shared/overload/cell-level.ts";
import type { LevelShard } from "#shared/overload/cell-level.ts";
import { defaultDegradePolicy } from "#shared/overload/degrade-policy.ts";
import { degradeTurn } from "#shared/overload/degrade-turn.ts";
import type { CellModel } from "#shared/overload/degrade-turn.ts";
import type { TenantDegradation } from "#shared/config/tenant-degradation.ts";
import { defaultLevelPolicy } from "#shared/overload/level-policy.ts";
import type { DegradationLevel, LevelInputs } from "#shared/overload/level-policy.ts";
import { defersBatch, hasBatchRoom } from "#shared/overload/level-switches.ts";
import type { LevelReason } from "#shared/overload/level.ts";
import type { TurnRequest } from "#shared/protocol/internal/turn-request.ts";
import { saturationOf } from "#shared/routing/filter-shard.ts";
import { defaultSelectionPolicy } from "#shared/routing/selection-policy.ts";
import type { TenantRules } from "./fleet.ts";
import type { SimShard } from "./sim-shard.ts";
import { simModel, smallerModel } from "./sim-shard.ts";
import { createSimHistory } from "./sim-history.ts";
import type { SimTurn } from "./sim-turn.ts";

/** A change of the level. */
export interface LevelChange {
  readonly atMs: number;
  readonly level: DegradationLevel;
  readonly reason: LevelReason;
}

/** What degradation levels did, whole replay. */
export interface LevelReport {
  readonly changes: readonly LevelChange[];
  /** Seconds at each level, 0 to 4, until the last request ended. */
  readonly secondsAt: readonly number[];
  /** New turns that were refused, by reason, and the work that they asked for, tokens. */
  readonly refused: Readonly<Record<LevelRefusal, number>>;
  readonly refusedWorkTokens: number;
  /** Answers that were really shorter, and by how many tokens. */
  readonly answersCut: number;
  readonly savedOutputTokens: number;
  /** Histories that were cut, and by how many prompt tokens. */
  readonly historiesCut: number;
  readonly savedPromptTokens: number;
  /** Turns that the smaller model answered. */
  readonly smallerAnswers: number;
  /** Hedges that were due and not begun because of the level. */
  readonly hedgesHeld: number;
  /** Batch turns that were kept back, and for how long together. */
  readonly batchDeferred: number;
  readonly deferredSeconds: number;
}

/** What a cell does about too much work, in virtual time and with the product's decisions. */
export interface CellOverload {
  level(): DegradationLevel;
  /** As of the last look. */
  inputs(): LevelInputs;
  /** A turn has come; tell of each, before {@link letIn}. */
  came(turn: SimTurn): void;
  /** A turn was answered. */
  answered(turn: SimTurn): void;
  /** Refuses a new turn, or makes it cheaper. False: refused. */
  letIn(turn: SimTurn, work: ArrivalWork, nowMs: number): boolean;
  /** Whether batch turns are kept back now. */
  holdsBatch(nowMs: number): boolean;
  deferred(forMs: number): void;
  hedgeHeld(): void;
  /** A turn has ended that had not been refused by the level. */
  ended(outcome: "done" | "shed" | "failed", nowMs: number): void;
  /** Looks; ten times a second. */
  tick(nowMs: number): void;
  report(nowMs: number): LevelReport;
}

/** What a turn asks for, as far as a level minds it. */
export interface ArrivalWork {
  readonly isLaterTurn: boolean;
  readonly isWithinShare: boolean;
  readonly workTokens: number;
  /** Whether the conversation has a home, which has all of it up to its last answer. */
  readonly hasHome: boolean;
}

export interface CellOverloadOptions {
  readonly shards: readonly SimShard[];
  /** Brings the shards' states up to date. */
  readonly refresh: (nowMs: number) => void;
  readonly queueDelay: (nowMs: number) => number;
  readonly random: () => number;
  readonly tenants: TenantRules;
}

const requestBase = {
  resume: null,
  hop: 0,
  rendering: { model: simModel, echo: {}, stream: true },
} as const;

/** The turn as the levels read it. */
function requestOf({ arrival, inputTokens }: SimTurn, isLaterTurn: boolean): TurnRequest {
  return {
    ...requestBase,
    priority: arrival.priority,
    affinity: { homeShard: isLaterTurn ? "home" : null, key: "" },
    engine: {
      path: "chat/completions",
      model: simModel,
      body: {},
      promptTokensEstimate: inputTokens,
      completionTokensMax: null,
    },
  } as unknown as TurnRequest;
}

/** The histories are cut by the same rule, from their lengths alone. */
const unused = { cachedTokens: 0, lastCutTokens: null } as const;

/** The overload control of one simulated cell. */
export function createCellOverload(options: CellOverloadOptions): CellOverload {
  const { queueDelay, random, refresh, shards, tenants } = options;
  const history = createSimHistory();
  const own = new CellLevel(defaultLevelPolicy, 0);
  const changes: LevelChange[] = [];
  const refused: Record<LevelRefusal, number> = {
    onlyCritical: 0,
    batchRejected: 0,
    newRefused: 0,
    overflow: 0,
  };
  const counts = {
    refusedWorkTokens: 0,
    answersCut: 0,
    savedOutputTokens: 0,
    historiesCut: 0,
    savedPromptTokens: 0,
    smallerAnswers: 0,
    hedgesHeld: 0,
    batchDeferred: 0,
    deferredSeconds: 0,
  };

  function statusOf({ breaker, counted, isAlive, state }: SimShard, nowMs: number): LevelShard {
    return {
      id: state.id,
      weight: state.weight,
      isUsable: isAdmitting(breaker, nowMs) && isAlive && !state.isDraining,
      isDraining: state.isDraining,
      life: { lifecycle: "ready" },
      inFlight: state.inFlight - counted.inFlight,
      concurrentRequestsMax: state.concurrentRequestsMax,
      saturation: saturationOf(state, defaultSelectionPolicy.ttftSloSeconds.interactive),
    };
  }

  function statuses(nowMs: number): readonly LevelShard[] {
    refresh(nowMs);
    return shards.map((shard) => statusOf(shard, nowMs));
  }

  function now(nowMs: number): LevelInputs {
    return own.look(statuses(nowMs), queueDelay(nowMs), nowMs);
  }

  const allowed: TenantDegradation = {
    smallerModels: new Map(tenants.smallerModel ? [[simModel, smallerModel]] : []),
    historyCut: false,
  };

  function modelOf(model: string, nowMs: number): CellModel | null {
    const ids = new Set(
      shards.filter(({ state }) => state.model === model).map(({ state }) => state.id),
    );
    if (ids.size === 0) return null;
    const isUsable = statuses(nowMs).some((one) => ids.has(one.id) && one.isUsable);
    const contexts = shards
      .filter(({ state }) => ids.has(state.id))
      .map(({ state }) => state.contextTokensMax);
    return { contextTokensMax: Math.min(...contexts), isUsable };
  }

  function cutHistory(turn: SimTurn, hasHome: boolean): void {
    const most = defaultDegradePolicy.historyTokensMax[turn.arrival.priority];
    if (!tenants.historyCut || most === null) return;
    const cachedTokens = hasHome ? history.warmTokens(turn) : 0;
    const step = most / defaultDegradePolicy.historySteps;
    const dropped = history.cut(turn, most, step, cachedTokens);
    if (dropped === 0) return;
    counts.historiesCut += 1;
    counts.savedPromptTokens += dropped;
  }

  return {
    level: () => own.level,
    inputs: () => own.inputs,
    came(turn) {
      if (tenants.historyCut) history.came(turn);
    },
    answered(turn) {
      if (tenants.historyCut) history.answered(turn);
    },
    letIn(turn, work, nowMs) {
      const { isLaterTurn, isWithinShare, workTokens } = work;
      const { level } = own;
      if (level < 2) return true;
      const request = requestOf(turn, isLaterTurn);
      const { queueDelay: delay, saturation } = now(nowMs);
      const load = {
        level,
        saturation,
        queueDelay: delay,
        hasCapacity: statuses(nowMs).some(({ isUsable }) => isUsable),
        isWithinShare,
        hasOtherCell: false,
      };
      const refusal = admitAtLevel(request, load, random, defaultDegradePolicy);
      if (refusal !== null) {
        refused[refusal.reason] += 1;
        counts.refusedWorkTokens += workTokens;
        return false;
      }
      cutHistory(turn, work.hasHome);
      const degraded = degradeTurn(
        requestOf(turn, isLaterTurn),
        { level, tenant: allowed, modelOf: (model) => modelOf(model, nowMs), ...unused },
        defaultDegradePolicy,
      );
      const { completionTokensMax: most, model } = degraded.request.engine;
      if (model !== turn.model) counts.smallerAnswers += 1;
      turn.model = model;
      turn.outputTokensMax = most;
      if (most === null || most >= turn.outputTokens) return true;
      counts.answersCut += 1;
      counts.savedOutputTokens += turn.outputTokens - most;
      turn.outputTokens = most;
      return true;
    },
    holdsBatch: (nowMs) =>
      defersBatch(own.level) && !hasBatchRoom(now(nowMs), defaultDegradePolicy),
    deferred(forMs) {
      counts.batchDeferred += 1;
      counts.deferredSeconds += forMs / 1_000;
    },
    hedgeHeld() {
      counts.hedgesHeld += 1;
    },
    ended(outcome, nowMs) {
      const codes = { done: null, shed: "saturated", failed: "upstream_invalid" } as const;
      const code = codes[outcome];
      own.ended(code === null ? null : { code }, nowMs);
    },
    tick(nowMs) {
      const reason = own.step(statuses(nowMs), queueDelay(nowMs), nowMs);
      if (reason !== null) changes.push({ atMs: nowMs, level: own.level, reason });
    },
    report(nowMs) {
      const secondsAt = [0, 0, 0, 0, 0];
      let [fromMs, level]: [number, number] = [0, 0];
      for (const change of [...changes, { atMs: nowMs, level: 0 }]) {
        secondsAt[level] = (secondsAt[level] ?? 0) + (change.atMs - fromMs) / 1_000;
        [fromMs, level] = [change.atMs, change.level];
      }
      return { changes, secondsAt, refused, ...counts };
    },
  };
}
