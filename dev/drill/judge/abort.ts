/** What is looked at once a second while a drill runs. */
export interface Observation {
  readonly isSupervisorAlive: boolean;
  /** Answers that a shard outside their tenant's jurisdiction gave. */
  readonly foreignAnswers: readonly string[];
  readonly processes: readonly { readonly name: string; readonly residentBytes: number }[];
  /** Requests that ended in this second, by the group they belong to. */
  readonly ended: Readonly<Record<AbortGroup, { readonly count: number; readonly errors: number }>>;
}

/** `bystander`: interactive requests of other jurisdictions; `interactive`: those of the jurisdiction of the fault. */
export type AbortGroup = "bystander" | "interactive";

/** Bounds beyond which a drill is stopped. */
export interface AbortPolicy {
  readonly residentBytesMax: number;
  /** Share of failed requests from which a second is a bad one. */
  readonly errorShareMax: Readonly<Record<AbortGroup, number>>;
  /** Bad seconds in a row that are borne. */
  readonly badSecondsMax: Readonly<Record<AbortGroup, number>>;
}

/** Bad seconds in a row so far. */
export type AbortState = Readonly<Record<AbortGroup, number>>;

/** One step: the next state, and why the drill must stop, or null. */
export interface AbortStep {
  readonly state: AbortState;
  readonly reason: string | null;
}

export const noBadSeconds: AbortState = { bystander: 0, interactive: 0 };

const groups: readonly AbortGroup[] = ["bystander", "interactive"];

/** Whether a drill must stop after this second. A second in which nothing ended neither adds to a row nor ends it. */
export function stepAbort(
  state: AbortState,
  observation: Observation,
  policy: AbortPolicy,
): AbortStep {
  const next: Record<AbortGroup, number> = { ...state };
  for (const group of groups) {
    const { count, errors } = observation.ended[group];
    if (count === 0) continue;
    next[group] = errors / count > policy.errorShareMax[group] ? state[group] + 1 : 0;
  }
  return { state: next, reason: reasonOf(next, observation, policy) };
}

function reasonOf(state: AbortState, observation: Observation, policy: AbortPolicy): string | null {
  const [foreign] = observation.foreignAnswers;
  if (foreign !== undefined) return `another jurisdiction was touched: ${foreign}`;
  if (!observation.isSupervisorAlive) return "the supervisor died";
  const big = observation.processes.find(
    ({ residentBytes }) => residentBytes > policy.residentBytesMax,
  );
  if (big !== undefined)
    return `${big.name} holds ${mebibytes(big.residentBytes)} MiB, the bound is ${mebibytes(policy.residentBytesMax)} MiB`;
  for (const group of groups) {
    if (state[group] > policy.badSecondsMax[group])
      return `more than ${percent(policy.errorShareMax[group])} of the ${group} requests failed for ${state[group]} s`;
  }
  return null;
}

function mebibytes(bytes: number): number {
  return Math.round(bytes / 2 ** 20);
}

function percent(share: number): string {
  return `${Math.round(share * 100)} %`;
}
