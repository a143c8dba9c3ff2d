// refused by: no-restricted-imports
import { run } from "#dev/run.ts";
export const found = run;
