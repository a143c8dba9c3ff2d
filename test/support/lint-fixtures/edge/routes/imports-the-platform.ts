// refused by: no-restricted-imports
import { env } from "cloudflare:workers";
export const found = env;
