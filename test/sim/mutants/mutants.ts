import { deliveryMutants } from "./delivery-mutants.ts";
import type { Mutant } from "./mutant.ts";
import { objectMutants } from "./object-mutants.ts";
import { streamMutants } from "./stream-mutants.ts";

/** Seeded bugs. Each is one that somebody could write, and breaks one promise that a checker must miss. */
export const mutants: readonly Mutant[] = [...objectMutants, ...streamMutants, ...deliveryMutants];
