// refused by: no-restricted-imports
import { Redis } from "@upstash/redis";
export const found = Redis;
