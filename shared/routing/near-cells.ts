import type { CellDescription, RegionDescription } from "../config/topology.ts";
import type { CellId, RegionId } from "../residency/brands.ts";

/** A point on the earth, degrees. */
export interface Position {
  readonly latitude: number;
  readonly longitude: number;
}

const earthKm = 6_371;
/** Round trip for each km of great circle: London–Frankfurt 640 km 13 ms, Washington–Frankfurt 6,500 km 91 ms (IBM, August 2024). */
const msPerKm = 0.018;
/** Cells at most this much further than the nearest are as good: less than one step of an engine's batch (our choice). */
const marginMs = 30;

/** Estimated round trip between two points, ms; haversine formula. */
export function estimateRoundTripMs(from: Position, to: Position): number {
  const radians = (degrees: number): number => (degrees * Math.PI) / 180;
  const north = Math.sin(radians(to.latitude - from.latitude) / 2);
  const east = Math.sin(radians(to.longitude - from.longitude) / 2);
  const cosines = Math.cos(radians(from.latitude)) * Math.cos(radians(to.latitude));
  const half = Math.min(1, north * north + cosines * east * east);
  return 2 * earthKm * Math.asin(Math.sqrt(half)) * msPerKm;
}

/**
 * The cells close enough to a client to be preferred: within 30 ms of the nearest. Of the cells given and no others: distance
 * counts only within the jurisdiction. None when the client's place is not known, or a cell's region has none.
 */
export function nearCells(
  cells: readonly CellDescription[],
  regions: ReadonlyMap<RegionId, RegionDescription>,
  client: Position | null,
): ReadonlySet<CellId> {
  if (client === null) return new Set();
  const placed: { readonly id: CellId; readonly roundTripMs: number }[] = [];
  for (const { id, region } of cells) {
    const place = regions.get(region);
    if (place === undefined) return new Set();
    placed.push({ id, roundTripMs: estimateRoundTripMs(client, place) });
  }
  const nearest = Math.min(...placed.map(({ roundTripMs }) => roundTripMs));
  return new Set(
    placed.filter(({ roundTripMs }) => roundTripMs <= nearest + marginMs).map(({ id }) => id),
  );
}
