import type { CellHint } from "#shared/health/hint.ts";
import type { CellId } from "#shared/residency/brands.ts";

/** What this isolate chose each cell for since the cell's hint was made: load that no hint can show yet. */
export interface SentSince {
  note(cell: CellId | undefined): void;
  /** Counts that are younger than the hints; those of a cell begin anew with its next hint. */
  since(hints: ReadonlyMap<CellId, CellHint>): ReadonlyMap<CellId, number>;
}

/** The counts of one isolate; as many as there are cells. */
export function createSentSince(): SentSince {
  const counts = new Map<CellId, number>();
  const versions = new Map<CellId, string>();
  return {
    note(cell) {
      if (cell !== undefined) counts.set(cell, (counts.get(cell) ?? 0) + 1);
    },
    since(hints) {
      for (const [cell, { boot, counter }] of hints) {
        const version = `${boot}.${counter}`;
        if (versions.get(cell) === version) continue;
        versions.set(cell, version);
        counts.set(cell, 0);
      }
      return counts;
    },
  };
}
