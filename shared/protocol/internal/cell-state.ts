import * as z from "zod";

/** Cell → edge, `GET /internal/cell`: what an operator is shown of a cell. Numbers only. */
export interface CellState {
  /** Degradation level, 0 to 4, and since when, ms since the epoch. */
  readonly level: number;
  readonly levelSinceMs: number;
  /** What the level is decided from. */
  readonly saturation: number;
  readonly queueDelay: number;
  readonly healthyShare: number;
  readonly errorRatio: number;
}

const schema = z.object({
  level: z.int().min(0).max(4),
  levelSinceMs: z.number().min(0),
  saturation: z.number().min(0),
  queueDelay: z.number().min(0),
  healthyShare: z.number().min(0).max(1),
  errorRatio: z.number().min(0).max(1),
});

/** The state that a cell tells, or null when the answer is none. */
export function parseCellState(value: unknown): CellState | null {
  const parsed = schema.safeParse(value);
  return parsed.success ? parsed.data : null;
}
