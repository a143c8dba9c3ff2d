// refused by: no-restricted-imports
import { createHash } from "node:crypto";
export const found = createHash;
