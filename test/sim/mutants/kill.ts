import { profiles } from "../faults/profiles.ts";
import { simulate } from "../simulate.ts";
import { mutants } from "./mutants.ts";

/** Seeds that a mutant gets unless it says otherwise. */
const seedsUsual = 60;

export interface MutantVerdict {
  readonly name: string;
  readonly isKilled: boolean;
  /** Seeds that were needed. */
  readonly seeds: number;
  readonly invariant: string | null;
}

/** Runs each mutant until a checker finds it or its seeds are used up. */
export async function killMutants(
  events: number,
  onVerdict: (line: string) => void,
): Promise<readonly MutantVerdict[]> {
  const verdicts: MutantVerdict[] = [];
  for (const mutant of mutants) {
    const budget = mutant.seeds ?? seedsUsual;
    const profile = profiles[mutant.profile ?? "swarm"];
    let verdict: MutantVerdict = {
      name: mutant.name,
      isKilled: false,
      seeds: budget,
      invariant: null,
    };
    for (let seed = 1; seed <= budget && !verdict.isKilled && profile !== undefined; seed += 1) {
      const { violations } = await simulate({ seed, profile, events, mutant });
      const [violation] = violations;
      if (violation !== undefined) {
        verdict = {
          name: mutant.name,
          isKilled: true,
          seeds: seed,
          invariant: violation.invariant,
        };
      }
    }
    verdicts.push(verdict);
    const how = verdict.isKilled
      ? `killed by ${verdict.invariant} at seed ${verdict.seeds}`
      : `SURVIVED ${budget} seeds`;
    onVerdict(`${mutant.name}: ${how}`);
  }
  return verdicts;
}
