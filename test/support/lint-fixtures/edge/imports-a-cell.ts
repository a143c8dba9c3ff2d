// refused by: no-restricted-imports
import { app } from "#regional/app.ts";
export const found = app;
