import { join, resolve } from "node:path";
import { readDevFile } from "../supervisor/dev-file.ts";
import type { DevFile } from "../supervisor/dev-file.ts";
import type { CommandIo } from "./receipts.ts";

/** What a running `npm run dev` wrote into its state folder; null, and told to the user, when nothing runs there. */
export function readRunningSystem(statePath: string, io: CommandIo): DevFile | null {
  const path = join(resolve(io.folder, statePath), "dev.json");
  try {
    return readDevFile(path);
  } catch {
    io.error(`Nothing runs here: ${path} does not exist. Start with npm run dev.`);
    return null;
  }
}
