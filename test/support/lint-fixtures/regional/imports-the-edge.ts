// refused by: no-restricted-imports
import { app } from "#edge/app.ts";
export const found = app;
