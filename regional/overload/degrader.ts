import type { TenantDegradation } from "#shared/config/tenant-degradation.ts";
import type { Topology } from "#shared/config/topology.ts";
import type { ErrorOutcome } from "#shared/errors/gateway-error.ts";
import { isLaterTurn } from "#shared/admission/later-turn.ts";
import { admitAtLevel } from "#shared/overload/admit-at-level.ts";
import { defaultDegradePolicy } from "#shared/overload/degrade-policy.ts";
import { degradeTurn } from "#shared/overload/degrade-turn.ts";
import type { CellModel } from "#shared/overload/degrade-turn.ts";
import { warmTokens } from "#shared/overload/warm-tokens.ts";
import type { TurnRequest } from "#shared/protocol/internal/turn-request.ts";
import type { CellId, Jurisdiction } from "#shared/residency/brands.ts";
import type { MetricsRegistry } from "#shared/telemetry/metrics.ts";
import type { RandomSource } from "../ports/random.ts";
import type { SlotRequest, TenantShares } from "../scheduler/scheduler.ts";
import type { ShardStatus } from "../scheduler/shard-book.ts";
import type { LevelSource } from "./level-source.ts";

/** Conversations whose last cut is remembered; the longest unused is forgotten first. */
const cutsMax = 10_000;

/** A turn as it is to run, or the cell's refusal. */
export type LevelVerdict =
  | { readonly kind: "run"; readonly request: TurnRequest }
  | { readonly kind: "refused"; readonly error: ErrorOutcome };

/** What a level does to a turn that has come; called once for each that is to begin. */
export type DegradeTurn = (request: TurnRequest) => LevelVerdict;

export interface DegraderOptions {
  readonly cell: CellId;
  readonly jurisdiction: Jurisdiction;
  readonly topology: Topology;
  readonly level: LevelSource;
  readonly statuses: () => readonly ShardStatus[];
  readonly shares: TenantShares;
  readonly random: RandomSource;
  readonly metrics: MetricsRegistry;
}

const nothingAllowed: TenantDegradation = { smallerModels: new Map(), historyCut: false };

/** A turn that has not been let in yet, as the scheduler would be asked for it; what is cached of its prompt is not looked up. */
function arrivalOf(request: TurnRequest): SlotRequest {
  const { affinity, conversationId, deadlineMs, engine, priority, tenant } = request;
  return {
    model: engine.model,
    homeShard: affinity.homeShard,
    affinityKey: affinity.key,
    excluded: [],
    priority,
    promptTokensEstimate: engine.promptTokensEstimate,
    deadlineMs,
    tenant,
    conversationId,
    promptKeys: [],
    path: engine.path,
    completionTokensMax: engine.completionTokensMax,
    isLaterTurn: isLaterTurn(request),
  };
}

/** Carries out what the cell's level asks for. */
export function createDegrader(options: DegraderOptions): DegradeTurn {
  const { cell, jurisdiction, level, metrics, random, shares, statuses, topology } = options;
  const own = topology.jurisdictions.get(jurisdiction);
  const cuts = new Map<string, number>();
  const actionsTaken = metrics.counter(
    "meridian_overload_actions_total",
    "What degradation levels did to turns, by action and class.",
  );

  function modelOf(model: string): CellModel | null {
    const shards = statuses().filter((shard) => shard.model === model);
    if (shards.length === 0) return null;
    const contextTokensMax = own?.models.get(model)?.contextTokensMax ?? 0;
    return { contextTokensMax, isUsable: shards.some(({ isUsable }) => isUsable) };
  }

  function hasOtherCell(model: string): boolean {
    return own?.shards.some((shard) => shard.model === model && shard.cell !== cell) ?? false;
  }

  function remember(conversation: string, cutTokens: number | null): void {
    cuts.delete(conversation);
    if (cutTokens === null) return;
    cuts.set(conversation, cutTokens);
    if (cuts.size <= cutsMax) return;
    for (const oldest of cuts.keys()) {
      cuts.delete(oldest);
      return;
    }
  }

  return (given) => {
    const tenant = topology.tenants.get(given.tenant)?.degradation ?? nothingAllowed;
    const atLevel = level.level();
    // The hot path of a calm cell: nothing to refuse, nothing to change.
    if (atLevel < 2 && given.resume === null) return { kind: "run", request: given };
    const now = level.now();
    const arrival = arrivalOf(given);
    const refusal = admitAtLevel(
      given,
      {
        level: atLevel,
        saturation: now.saturation,
        queueDelay: now.queueDelay,
        hasCapacity: modelOf(given.engine.model)?.isUsable ?? false,
        isWithinShare: shares.isWithinShare(arrival),
        hasOtherCell: hasOtherCell(given.engine.model),
      },
      () => random.unit(),
      defaultDegradePolicy,
    );
    const { priority } = given;
    if (refusal !== null) {
      shares.turnedAway(arrival);
      actionsTaken.add({ action: refusal.reason, class: priority });
      return { kind: "refused", error: refusal.error };
    }
    const conversation = `${given.tenant} ${given.conversationId ?? given.affinity.key}`;
    const degraded = degradeTurn(
      given,
      {
        level: atLevel,
        tenant,
        modelOf,
        cachedTokens: warmTokens(given),
        lastCutTokens: cuts.get(conversation) ?? null,
      },
      defaultDegradePolicy,
    );
    if (given.resume === null) remember(conversation, degraded.cutTokens);
    for (const action of degraded.actions) actionsTaken.add({ action, class: priority });
    return { kind: "run", request: degraded.request };
  };
}
