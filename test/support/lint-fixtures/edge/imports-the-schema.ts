// refused by: no-restricted-imports
import { schema } from "#shared/db/schema.ts";
export const found = schema;
