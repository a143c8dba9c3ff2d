import type { CanaryAnswer } from "#shared/health/canary.ts";

/** What the shards of a model and revision answered alike to one of the gateway's own prompts. */
export interface CanaryReference {
  readonly model: string;
  readonly revision: string;
  /** Its text. */
  readonly prompt: string;
  readonly answer: CanaryAnswer;
}

/**
 * Where the canaries' references of one cell are kept, in its region's database. Every call settles by its deadline; `unavailable`
 * means that the outcome is unknown, and each call is safe to repeat.
 */
export interface CanaryStore {
  /** Rows that this version cannot read are left out. */
  read(deadlineMs: number): Promise<readonly CanaryReference[] | "unavailable">;
  /** Replaces what is kept for the same model, revision and prompt. */
  keep(reference: CanaryReference, deadlineMs: number): Promise<"kept" | "unavailable">;
}
