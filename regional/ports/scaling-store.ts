/** A lease of a region's scaler. */
export interface ScalerLease {
  /** Rises with each change of the holder; what acts on a plan refuses lower ones. */
  readonly token: number;
}

/** What a cell told of one model. */
export interface StoredDemand {
  readonly cell: string;
  readonly model: string;
  /** JSON, as the cell wrote it. */
  readonly report: string;
  /** By the database's clock, ms ≥ 0: the clocks of cells are never compared. */
  readonly ageMs: number;
}

/** The last plan of one model. */
export interface StoredPlan {
  readonly model: string;
  readonly token: number;
  /** JSON: what was planned, and why. */
  readonly plan: string;
  /** JSON: what the next plan needs to know. */
  readonly state: string;
  /** By the database's clock, ms. */
  readonly ageMs: number;
}

/**
 * What the scalers of one region share, in the region's database. Every call settles by its deadline; `unavailable` means that
 * the outcome is unknown, and each call is safe to repeat.
 */
export interface ScalingStore {
  /**
   * Takes the lease when it is free or has expired, renews it when `holder` has it; `held`: somebody else does. It lasts
   * `leaseMs` of the database's clock from the moment that the database worked on the call.
   */
  acquire(
    holder: string,
    leaseMs: number,
    deadlineMs: number,
  ): Promise<ScalerLease | "held" | "unavailable">;
  /** Ends the lease if `holder` has it, so that another need not wait for its end. */
  release(holder: string, deadlineMs: number): Promise<void>;
  report(
    cell: string,
    reports: readonly { readonly model: string; readonly report: string }[],
    deadlineMs: number,
  ): Promise<"written" | "unavailable">;
  demand(deadlineMs: number): Promise<readonly StoredDemand[] | "unavailable">;
  plans(deadlineMs: number): Promise<readonly StoredPlan[] | "unavailable">;
  /** Keeps a plan; `fenced`, and nothing is changed, when the lease of `token` is over by the database's clock. */
  keepPlan(
    plan: Omit<StoredPlan, "ageMs">,
    deadlineMs: number,
  ): Promise<"written" | "fenced" | "unavailable">;
}
