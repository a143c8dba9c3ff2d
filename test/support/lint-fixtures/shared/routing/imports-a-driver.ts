// refused by: no-restricted-imports
import postgres from "postgres";
export const found = postgres;
