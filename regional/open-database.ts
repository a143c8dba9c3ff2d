import { fileURLToPath } from "node:url";
import type { HistoryStore } from "#shared/protocol/internal/history.ts";
import type { Log } from "#shared/telemetry/log-record.ts";
import type { CellConfig } from "./config.ts";
import { openHistory } from "./history/index.ts";
import type { CanaryStore } from "./ports/canary-store.ts";
import type { ScalingStore } from "./ports/scaling-store.ts";

/** What a cell keeps in its region's database; null where there is none to keep it in. */
interface RegionalStores {
  readonly history: HistoryStore;
  readonly scalingStore: ScalingStore | null;
  readonly canaryStore: CanaryStore | null;
}

/** The region's database; a history put in its place brings no stores for scalers and canaries. */
export async function openDatabase(
  { cell, database, dataDir }: CellConfig,
  { history }: { readonly history?: HistoryStore },
  log: Log,
): Promise<RegionalStores> {
  if (history !== undefined) return { history, scalingStore: null, canaryStore: null };
  const opened = await openHistory({
    database,
    dataDir,
    migrationsDir: fileURLToPath(new URL("../migrations", import.meta.url)),
    onLog: ({ event, reason }) =>
      log(event === "history_connected" ? "info" : "warn", event, { reason }),
  });
  return {
    history: opened,
    scalingStore: opened.scalingOf(cell.region),
    canaryStore: opened.canariesOf(cell.id),
  };
}
