import * as z from "zod";

/** A plan of the scaler, as an operator is shown it. */
interface ShownPlan {
  readonly model: string;
  /** Replicas there are, and shall be; what the load alone would want. */
  readonly there: number;
  readonly replicas: number;
  readonly wanted: number;
  readonly reason: string;
  /** The reason in words and numbers. */
  readonly text: string;
}

/** Cell → edge, `GET /internal/cell`: what an operator is shown of a cell. No content. */
export interface CellState {
  /** Degradation level, 0 to 4, and since when, ms since the epoch. */
  readonly level: number;
  readonly levelSinceMs: number;
  /** What the level is decided from. */
  readonly saturation: number;
  readonly queueDelay: number;
  readonly healthyShare: number;
  readonly errorRatio: number;
  /** The region's plans, told by the cell that leads its scaler; none by all others. */
  readonly plans: readonly ShownPlan[];
}

const count = z.number().min(0);
const planSchema = z.object({
  model: z.string().max(256),
  there: count,
  replicas: count,
  wanted: count,
  reason: z.string().max(64),
  text: z.string().max(1_000),
});
const schema = z.object({
  level: z.int().min(0).max(4),
  levelSinceMs: z.number().min(0),
  saturation: z.number().min(0),
  queueDelay: z.number().min(0),
  healthyShare: z.number().min(0).max(1),
  errorRatio: z.number().min(0).max(1),
  // A cell of before the scaler tells none.
  plans: z.array(planSchema).max(1_000).default([]),
});

/** The state that a cell tells, or null when the answer is none. */
export function parseCellState(value: unknown): CellState | null {
  const parsed = schema.safeParse(value);
  return parsed.success ? parsed.data : null;
}
