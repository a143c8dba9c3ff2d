import { defaultBridgePolicy, lackingNow, stepBridge } from "#shared/scaling/burst-bridge.ts";
import type { BridgeState } from "#shared/scaling/burst-bridge.ts";
import { demandAhead } from "#shared/scaling/fleet-demand.ts";
import type { ClassShares, DemandAhead } from "#shared/scaling/fleet-demand.ts";
import { choosePurchase } from "#shared/scaling/fleet-purchase.ts";
import type { PurchaseOffer } from "#shared/scaling/fleet-purchase.ts";
import { defaultForecastPolicy } from "#shared/scaling/forecast-policy.ts";
import { newForecast, observeDemand } from "#shared/scaling/forecast.ts";
import { newPlanState, planCapacity } from "#shared/scaling/plan-capacity.ts";
import { defaultPlanPolicy } from "#shared/scaling/plan-policy.ts";
import type { Held, MarketOffer } from "./market.ts";
import { productionScaler } from "./production-scaler.ts";

/** What a scaler sees of a region. Units are replicas of the first offer at their estimated speed. */
export interface ScalerView {
  readonly nowMs: number;
  /** Offered work: of the last 6 s and of the last minute, in units; refused work counts too. */
  readonly demandNow: number;
  readonly demandMinute: number;
  /** Offered work of the 10-minute step that has just ended; null in the middle of one. */
  readonly stepDemand: number | null;
  /** Work that waits, unit-seconds, and its growth by the second. */
  readonly backlogSeconds: number;
  readonly backlogGrowth: number;
  /** Requests at once over what the ready units may hold, means of 6 s and of a minute. */
  readonly concurrencyNow: number;
  readonly concurrencyMinute: number;
  readonly offers: readonly MarketOffer[];
  readonly held: ReadonlyMap<string, Held>;
}

/** Decides how many replicas of each offer there shall be. */
export interface Scaler {
  /** Why, for the report. */
  readonly reasons: Map<string, number>;
  decide(view: ScalerView): Readonly<Record<string, number>>;
}

/** What a scaler is made for. */
export interface ScalerSetting {
  readonly shares: ClassShares;
  /** Units that are always there. */
  readonly unitsMin: number;
  /** Offered units of the busiest ten minutes of the days that may be learnt from. */
  readonly peakUnits: number;
  /** Offered units of the first ten minutes. */
  readonly firstUnits: number;
}

function heldUnits(
  view: ScalerView,
  kinds: (offer: PurchaseOffer) => boolean,
  isReady: boolean,
): number {
  return view.offers.reduce((sum, offer) => {
    const held = view.held.get(offer.name);
    const count = held === undefined ? 0 : isReady ? held.ready : held.replicas;
    return kinds(offer) ? sum + count * offer.unitsPerReplica : sum;
  }, 0);
}

function count(reasons: Map<string, number>, reason: string): void {
  reasons.set(reason, (reasons.get(reason) ?? 0) + 1);
}

/** Ours: the production forecast, plan and purchase. `refused`: purchase kinds that are not used. */
function ours({ shares, unitsMin }: ScalerSetting, refused: readonly string[]): Scaler {
  const reasons = new Map<string, number>();
  let forecast = newForecast(defaultForecastPolicy);
  let ahead: DemandAhead = { all: 0, firm: 0 };
  let plan = newPlanState;
  let bridge: BridgeState | null = null;
  const firmShare = shares.critical + shares.interactive;
  return {
    reasons,
    decide(view) {
      const { backlogGrowth, backlogSeconds, demandMinute, demandNow, nowMs, stepDemand } = view;
      const offers = view.offers.filter(({ kind }) => !refused.includes(kind));
      if (stepDemand !== null) {
        forecast = observeDemand(forecast, stepDemand, defaultForecastPolicy);
        ahead = demandAhead(forecast, 1, shares);
      }
      const all = Math.max(ahead.all, demandMinute);
      const firm = Math.max(ahead.firm, firmShare * demandMinute);
      const isSteady = ({ kind }: PurchaseOffer): boolean => kind !== "burst";
      const planned = planCapacity(
        plan,
        {
          measuredAtMs: nowMs,
          replicas: Math.round(heldUnits(view, isSteady, false)),
          demand: all,
          demandNow,
          backlogSeconds,
          backlogGrowth,
        },
        nowMs,
        {
          ...defaultPlanPolicy,
          replicasMin: unitsMin,
          replicasMax: Math.max(
            unitsMin,
            Math.floor(offers.reduce((sum, one) => sum + one.replicasMax * one.unitsPerReplica, 0)),
          ),
        },
      );
      plan = planned.state;
      count(reasons, planned.reason);
      const lacking = lackingNow(
        { demand: demandMinute, backlogSeconds, ready: heldUnits(view, isSteady, true) },
        defaultBridgePolicy,
      );
      bridge = stepBridge(bridge, lacking, nowMs, defaultBridgePolicy);
      const { replicas } = choosePurchase(
        {
          wantedUnits: planned.replicas,
          firmUnits: planned.replicas * (all > 0 ? firm / all : 1),
          urgentUnits: bridge?.replicas ?? 0,
        },
        offers,
      );
      return replicas;
    },
  };
}

function cheapest(
  offers: readonly PurchaseOffer[],
  isFit: (offer: PurchaseOffer) => boolean,
): PurchaseOffer {
  const fit = offers.filter(isFit);
  const sorted = (fit.length > 0 ? fit : offers).toSorted(
    (left, right) =>
      left.usdPerHour / left.unitsPerReplica - right.usdPerHour / right.unitsPerReplica,
  );
  const [first] = sorted;
  if (first === undefined) throw new RangeError("offers: got none, wanted one at least");
  return first;
}

function isFirm({ kind }: PurchaseOffer): boolean {
  return kind === "onDemand" || kind === "reserved";
}

/** So many units of the cheapest offer that nobody calls back. */
function firmReplicas(view: ScalerView, units: number, isFit = isFirm): Record<string, number> {
  const offer = cheapest(view.offers, isFit);
  return { [offer.name]: Math.ceil(units / offer.unitsPerReplica) };
}

/** What would have been enough for the busiest ten minutes that may be learnt from, all the time. */
function staticPeak({ peakUnits, unitsMin }: ScalerSetting, utilisation: number): Scaler {
  const units = Math.max(unitsMin, Math.ceil(peakUnits / utilisation));
  return { reasons: new Map(), decide: (view) => firmReplicas(view, units) };
}

/**
 * Target tracking as AWS Application Auto Scaling does it (user guide, "Target tracking scaling policies"): alarms of one-minute
 * means, three above the target to grow, fifteen below 90 % of it to shrink, 300 s between steps (the default of SageMaker).
 */
function targetTracking({ firstUnits, unitsMin }: ScalerSetting): Scaler {
  const target = defaultPlanPolicy.utilisationMax;
  let minutes: number[] = [];
  let sinceMs = 0;
  let changedAtMs = Number.NEGATIVE_INFINITY;
  let units = Math.max(unitsMin, Math.ceil(firstUnits / target));
  return {
    reasons: new Map(),
    decide(view) {
      const { demandMinute, nowMs } = view;
      if (nowMs - sinceMs >= 60_000) {
        sinceMs = nowMs;
        minutes = [...minutes, demandMinute / Math.max(1, heldUnits(view, isFirm, true))].slice(
          -15,
        );
        const last = minutes.slice(-3);
        const mean = last.reduce((sum, one) => sum + one, 0) / Math.max(1, last.length);
        const isOver = last.length === 3 && last.every((one) => one > target);
        const isUnder = minutes.length === 15 && minutes.every((one) => one < 0.9 * target);
        if ((isOver || isUnder) && nowMs - changedAtMs >= 300_000) {
          const ready = Math.max(1, heldUnits(view, isFirm, true));
          const next = Math.ceil((ready * mean) / target);
          units = Math.max(unitsMin, isOver ? Math.max(units, next) : Math.min(units, next));
          changedAtMs = nowMs;
        }
      }
      return firmReplicas(view, units);
    },
  };
}

/**
 * Concurrency as Knative's autoscaler does it (docs, "Autoscaling"; defaults): 70 % of what a replica may hold over a minute; in
 * panic, when 6 s want twice of what is ready, the 6 s count and nothing falls for a minute; at most half goes in one step.
 */
function knative(
  { firstUnits, unitsMin }: ScalerSetting,
  isFit: (offer: PurchaseOffer) => boolean,
): Scaler {
  const target = 0.7;
  let units = Math.max(unitsMin, Math.ceil(firstUnits / target));
  let panickedAtMs = Number.NEGATIVE_INFINITY;
  return {
    reasons: new Map(),
    decide(view) {
      const { concurrencyMinute, concurrencyNow, nowMs } = view;
      const ready = Math.max(1, heldUnits(view, isFit, true));
      const stable = concurrencyMinute / target;
      const panic = concurrencyNow / target;
      if (panic >= 2 * ready) panickedAtMs = nowMs;
      const isPanic = nowMs - panickedAtMs < 60_000;
      const wanted = Math.ceil(isPanic ? Math.max(units, panic) : Math.max(stable, ready / 2));
      units = Math.max(unitsMin, wanted);
      return firmReplicas(view, units, isFit);
    },
  };
}

/** What `--scaler` may name. */
export const scalers: Readonly<Record<string, (setting: ScalerSetting) => Scaler>> = {
  production: (setting) => productionScaler(setting),
  "production-2-zones": (setting) => productionScaler(setting, 2),
  "production-3-zones": (setting) => productionScaler(setting, 3),
  ours: (setting) => ours(setting, []),
  "ours-no-spot": (setting) => ours(setting, ["spot"]),
  "ours-no-burst": (setting) => ours(setting, ["burst"]),
  "static-peak": (setting) => staticPeak(setting, defaultPlanPolicy.utilisationMax),
  "static-tight": (setting) => staticPeak(setting, 0.9),
  "target-tracking": targetTracking,
  knative: (setting) => knative(setting, isFirm),
  "knative-burst": (setting) => knative(setting, ({ kind }) => kind === "burst"),
};
