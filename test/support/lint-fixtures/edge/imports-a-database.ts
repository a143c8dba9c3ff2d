// refused by: no-restricted-imports
import { drizzle } from "drizzle-orm";
export const found = drizzle;
