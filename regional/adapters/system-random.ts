import { randomBytes } from "node:crypto";
import type { RandomSource } from "../ports/random.ts";

/** The machine's chance. */
export const systemRandom: RandomSource = {
  unit: () => Math.random(),
  hex: (bytes) => randomBytes(bytes).toString("hex"),
};
