import * as z from "zod";
import type { PlanState } from "./plan-capacity.ts";
import type { PoolState } from "./pool-supply.ts";
import type { ScaleState } from "./scale-model.ts";

const count = z.int().min(0);
const number = z.number();
const time = z.number().nullable();
const memberValues = z.object({
  persistence: number.nullable(),
  trend: number.nullable(),
  season: number.nullable(),
  holtWinters: number.nullable(),
});
const forecast = z.object({
  values: z.array(number).max(10_000),
  count,
  trendLevel: number,
  trendSlope: number,
  holtWinters: z
    .object({ level: number, slope: number, factors: z.array(number).max(10_000) })
    .nullable(),
  horizons: z
    .array(
      z.object({
        steps: count,
        errors: memberValues,
        mixedError: number.nullable(),
        pending: z
          .array(z.object({ members: memberValues, mixed: number, mean: number }))
          .max(1_000),
        ratios: z.array(number).max(10_000),
      }),
    )
    .max(16),
});
const rates = z.object({ protected: number, other: number });
const plan = z.object({
  wanted: z.array(z.object({ atMs: number, replicas: number })).max(10_000),
  grewAtMs: time,
  growth: z.object({ sinceMs: number, fromReplicas: number }).nullable(),
  shrankAtMs: time,
  panickedAtMs: time,
});
const stored = z.object({
  v: z.literal(1),
  savedAtMs: number,
  scale: z.object({
    v: z.literal(1),
    demand: z.object({
      protected: forecast,
      other: forecast,
      step: z.object({ index: z.int(), sum: rates, looks: count.min(1) }).nullable(),
    }),
    total: plan,
    firm: plan,
    backlog: z.object({ atMs: number, seconds: number }).nullable(),
    bridge: z
      .object({ replicas: number, neededAtMs: number, byPool: z.record(z.string(), count) })
      .nullable()
      .default(null),
    pools: z.record(
      z.string(),
      z.object({
        target: number.nullable(),
        askedAtMs: time,
        shortUntilMs: time,
        readySeen: number.nullable(),
        lostSinceMs: time,
        asks: z
          .array(z.object({ atMs: number, replicas: count }))
          .max(100)
          .default([]),
        startsMs: z.array(number).max(100).default([]),
      }),
    ),
  }),
});

/** The state as text for the region's database. */
export function formatScaleState(scale: ScaleState, savedAtMs: number): string {
  return JSON.stringify({ v: 1, savedAtMs, scale });
}

/**
 * The state that another leader kept `ageMs` ago, its times as this clock has them; null for what is none. The clocks of two
 * leaders are never compared: only the age, which the database measures, says when something was.
 */
export function parseScaleState(
  text: string,
  {
    ageMs,
    nowMs,
    stepMs,
  }: { readonly ageMs: number; readonly nowMs: number; readonly stepMs: number },
): ScaleState | null {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return null;
  }
  const parsed = stored.safeParse(value);
  if (!parsed.success) return null;
  const { savedAtMs, scale } = parsed.data;
  const byMs = nowMs - ageMs - savedAtMs;
  const { backlog, bridge, demand, firm, pools, total } = scale;
  const { step } = demand;
  return {
    v: 1,
    demand: {
      ...demand,
      step: step === null ? null : { ...step, index: step.index + Math.round(byMs / stepMs) },
    },
    total: movePlan(total, byMs),
    firm: movePlan(firm, byMs),
    bridge: bridge === null ? null : { ...bridge, neededAtMs: bridge.neededAtMs + byMs },
    backlog: backlog === null ? null : { ...backlog, atMs: backlog.atMs + byMs },
    pools: Object.fromEntries(
      Object.entries(pools).map(([id, pool]) => [id, movePool(pool, byMs)]),
    ),
  };
}

function moved(atMs: number | null, byMs: number): number | null {
  return atMs === null ? null : atMs + byMs;
}

function movePlan(state: PlanState, byMs: number): PlanState {
  const { grewAtMs, growth, panickedAtMs, shrankAtMs, wanted } = state;
  return {
    wanted: wanted.map(({ atMs, replicas }) => ({ atMs: atMs + byMs, replicas })),
    grewAtMs: moved(grewAtMs, byMs),
    growth: growth === null ? null : { ...growth, sinceMs: growth.sinceMs + byMs },
    shrankAtMs: moved(shrankAtMs, byMs),
    panickedAtMs: moved(panickedAtMs, byMs),
  };
}

function movePool(state: PoolState, byMs: number): PoolState {
  return {
    ...state,
    askedAtMs: moved(state.askedAtMs, byMs),
    shortUntilMs: moved(state.shortUntilMs, byMs),
    lostSinceMs: moved(state.lostSinceMs, byMs),
    asks: state.asks.map(({ atMs, replicas }) => ({ atMs: atMs + byMs, replicas })),
  };
}
