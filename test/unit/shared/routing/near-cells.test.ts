import { describe, it } from "vitest";
import type { CellDescription, RegionDescription } from "#shared/config/topology.ts";
import type { CellId, Jurisdiction, RegionId } from "#shared/residency/brands.ts";
import { estimateRoundTripMs, nearCells } from "#shared/routing/near-cells.ts";

const places = {
  dublin: { latitude: 53.35, longitude: -6.26 },
  frankfurt: { latitude: 50.11, longitude: 8.68 },
  tokyo: { latitude: 35.68, longitude: 139.69 },
  sydney: { latitude: -33.87, longitude: 151.21 },
};
const cells = Object.keys(places).map((name): CellDescription => ({
  id: `${name}-1a` as CellId,
  region: name as RegionId,
  jurisdiction: "any" as Jurisdiction,
  zone: "a",
  url: "http://127.0.0.1:1",
}));
const regions = new Map(
  Object.entries(places).map(([name, place]): [RegionId, RegionDescription] => [
    name as RegionId,
    { id: name as RegionId, jurisdiction: "any" as Jurisdiction, database: "embedded", ...place },
  ]),
);

describe("cells near a client", () => {
  it("are those within 30 ms of the nearest", ({ expect }) => {
    const { dublin, sydney, tokyo } = places;
    expect([...nearCells(cells, regions, dublin)]).toEqual(["dublin-1a", "frankfurt-1a"]);
    expect([...nearCells(cells, regions, tokyo)]).toEqual(["tokyo-1a"]);
    expect([...nearCells(cells, regions, sydney)]).toEqual(["sydney-1a"]);
  });

  it("are of the cells given alone, however far they are", ({ expect }) => {
    const european = cells.slice(0, 2);
    expect([...nearCells(european, regions, places.tokyo)]).toEqual(["dublin-1a", "frankfurt-1a"]);
  });

  it("are none when the client's place or a region's is not known", ({ expect }) => {
    expect(nearCells(cells, regions, null).size).toBe(0);
    expect(nearCells(cells, new Map(), places.dublin).size).toBe(0);
    expect(nearCells([], regions, places.dublin).size).toBe(0);
  });
});

describe("the estimated round trip", () => {
  it("comes near measured ones, and is symmetric and finite everywhere", ({ expect }) => {
    const { dublin, frankfurt, sydney, tokyo } = places;
    expect(estimateRoundTripMs(dublin, dublin)).toBe(0);
    expect(estimateRoundTripMs(tokyo, sydney)).toBeGreaterThan(100);
    expect(estimateRoundTripMs(tokyo, sydney)).toBeLessThan(160);
    expect(estimateRoundTripMs(frankfurt, tokyo)).toBeCloseTo(
      estimateRoundTripMs(tokyo, frankfurt),
      9,
    );
    const poles = [-90, 90].map((latitude) => ({ latitude, longitude: 180 }));
    const [south = dublin, north = dublin] = poles;
    expect(estimateRoundTripMs(south, north)).toBeCloseTo(Math.PI * 6_371 * 0.018, 6);
  });
});
