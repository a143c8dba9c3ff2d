import type { Profile } from "./faults/profiles.ts";
import { pointsOf } from "./points.ts";
import { simulate } from "./simulate.ts";
import type { RunResult } from "./simulate.ts";

/** Every so many seeds one runs twice: unequal hashes of the event log are a failure. */
const repeatEvery = 20;
/** From so many seeds on a run must have met every fault and every `sometimes` point of its profile. */
const coverageSeedsMin = 200;

export interface CampaignOptions {
  readonly profile: Profile;
  readonly firstSeed: number;
  readonly seeds: number;
  readonly events: number;
  /** Told at once of what fails, with the line that replays it. */
  readonly onFailure: (line: string) => void;
  /** Stop after this time, ms; Infinity unless said. */
  readonly timeLimitMs?: number;
}

export interface Campaign {
  readonly results: readonly RunResult[];
  readonly repeated: number;
  /** Empty when all is well. */
  readonly complaints: readonly string[];
}

/** The line that runs a seed again. */
export function replayLine(
  result: RunResult,
  options: { readonly profile: Profile; readonly events: number },
): string {
  return `npm run sim -- --replay ${result.seed} --profile ${options.profile.name} --events ${options.events}`;
}

/** Runs seeds one after another. */
export async function runCampaign(options: CampaignOptions): Promise<Campaign> {
  const { profile, firstSeed, seeds, events, onFailure, timeLimitMs = Infinity } = options;
  const startedAtMs = performance.now();
  const results: RunResult[] = [];
  const complaints: string[] = [];
  let repeated = 0;
  for (let seed = firstSeed; seed < firstSeed + seeds; seed += 1) {
    if (performance.now() - startedAtMs > timeLimitMs) break;
    const result = await simulate({ seed, profile, events });
    results.push(result);
    const [violation] = result.violations;
    if (violation !== undefined) {
      const complaint = `seed ${seed}: ${violation.invariant} ${violation.detail.slice(0, 600)}\n  ${replayLine(result, options)}`;
      complaints.push(complaint);
      onFailure(complaint);
    }
    if (seed % repeatEvery !== 0) continue;
    repeated += 1;
    const again = await simulate({ seed, profile, events });
    if (again.hash !== result.hash)
      complaints.push(`seed ${seed}: not deterministic: ${result.hash}, then ${again.hash}`);
  }
  if (results.length >= coverageSeedsMin) complaints.push(...uncovered(results, profile));
  return { results, repeated, complaints };
}

/** Faults and points of the profile that no run has met. */
export function uncovered(results: readonly RunResult[], profile: Profile): readonly string[] {
  const faults = profile.kinds.filter((kind) => !results.some((result) => result.faults.has(kind)));
  const points = pointsOf(profile.name).filter(
    (point) => !results.some((result) => result.points.has(point)),
  );
  return [
    ...faults.map((kind) => `the fault ${kind} never happened`),
    ...points.map((point) => `never reached: ${point}`),
  ];
}
