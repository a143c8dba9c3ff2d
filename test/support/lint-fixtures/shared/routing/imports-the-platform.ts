// refused by: no-restricted-imports
import { DurableObject } from "cloudflare:workers";
export const found = DurableObject;
