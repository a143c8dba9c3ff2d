import { defaultScalePolicy, newScaleState, planModel } from "#shared/scaling/scale-model.ts";
import type { Scaler, ScalerSetting } from "./scalers.ts";

/** Between two plans, ms: a cell's scaler plans as often (docs/scaling.md). */
const planMs = 15_000;

/**
 * What a region's scaler runs: the same function, with the fleet's offers as pools. It counts every replica alike, so that it is
 * for fleets of one hardware; a burst offer is a firm pool that starts sooner for it. It is not told which spot pool the provider has called back.
 * The replicas of each offer are in `zones` zones in turn; the market knows of none and loses none.
 */
export function productionScaler({ shares, unitsMin }: ScalerSetting, zones = 1): Scaler {
  const reasons = new Map<string, number>();
  let state = newScaleState(defaultScalePolicy);
  let plannedAtMs = Number.NEGATIVE_INFINITY;
  let replicas: Readonly<Record<string, number>> = {};
  const protectedShare = shares.critical + shares.interactive;
  return {
    reasons,
    decide({ backlogSeconds, demandMinute, demandNow, held, nowMs, offers }) {
      if (nowMs - plannedAtMs < planMs) return replicas;
      plannedAtMs = nowMs;
      const plan = planModel(
        state,
        {
          model: "sim",
          demand: {
            measuredAtMs: nowMs,
            isPartial: false,
            rates: {
              protected: protectedShare * demandMinute,
              other: (1 - protectedShare) * demandMinute,
            },
            burst: demandNow,
            backlogSeconds,
            lateShare: null,
          },
          pools: offers.map((offer, at) => ({
            id: offer.name,
            purchase:
              offer.kind === "onDemand" || offer.kind === "burst" ? "on-demand" : offer.kind,
            pricePerHourMicroUsd: Math.round(offer.usdPerHour * 1e6),
            replicasPerInstance: 1,
            replicasMin: at === 0 ? unitsMin : 0,
            replicasMax: offer.quota,
            coldStartSeconds: offer.coldStartSeconds,
            zones: Array.from({ length: Math.max(1, offer.quota) }, (_, index) =>
              String(index % zones),
            ),
            seen: {
              desired: held.get(offer.name)?.replicas ?? 0,
              ready: held.get(offer.name)?.ready ?? 0,
            },
            isOrdered: true,
            startsMs: [],
          })),
          fixed: {},
        },
        nowMs,
        defaultScalePolicy,
      );
      state = plan.state;
      reasons.set(plan.reason, (reasons.get(plan.reason) ?? 0) + 1);
      replicas = Object.fromEntries(plan.pools.map((pool) => [pool.pool, pool.replicas]));
      return replicas;
    },
  };
}
