import { describe, it } from "vitest";
import type { Clock } from "#regional/ports/clock.ts";
import type { Engine } from "#regional/ports/engine.ts";
import { createLoadScraper } from "#regional/scheduler/load-scraper.ts";
import type { ShardId } from "#shared/residency/brands.ts";
import type { EngineLoad } from "#shared/routing/engine-load.ts";

const shard = "c/a" as ShardId;
const load: EngineLoad = { running: 9, waiting: 0, kvShare: 0.5 };

type Reply = EngineLoad | "none" | "failed";

function aScraper(answer: (() => Promise<Reply>) | null) {
  let nowMs = 0;
  let asked = 0;
  const own = { inFlight: 1, kvTokens: 100 };
  const heard: { load: EngineLoad | null; inFlight: number }[] = [];
  const clock = { nowMs: () => nowMs, after: () => () => {}, every: () => () => {} } as Clock;
  const engine = {
    shard,
    ...(answer !== null && {
      load: () => {
        asked += 1;
        return answer();
      },
    }),
  } as unknown as Engine;
  const scraper = createLoadScraper({
    engines: new Map([[shard, engine]]),
    clock,
    own: () => ({ ...own }),
    onLoad: (_shard, told, { inFlight }) => heard.push({ load: told, inFlight }),
  });
  return {
    scraper,
    own,
    heard,
    asked: () => asked,
    move: (byMs: number) => void (nowMs += byMs),
  };
}

describe("reading the engines' metrics", () => {
  it("takes the most that the cell had on the shard meanwhile as its own", async ({ expect }) => {
    for (const [before, after] of [
      [5, 1],
      [1, 5],
    ] as const) {
      const reply = Promise.withResolvers<Reply>();
      const parts = aScraper(() => reply.promise);
      parts.own.inFlight = before;
      const done = parts.scraper.scrapeAll();
      parts.own.inFlight = after;
      reply.resolve(load);
      await done;
      expect(parts.heard).toEqual([{ load, inFlight: 5 }]);
    }
  });

  it("asks no shard twice at once", async ({ expect }) => {
    const reply = Promise.withResolvers<Reply>();
    const parts = aScraper(() => reply.promise);
    const first = parts.scraper.scrapeAll();
    await parts.scraper.scrapeAll();
    expect(parts.asked()).toBe(1);
    reply.resolve("failed");
    await first;
    await parts.scraper.scrapeAll();
    expect(parts.asked()).toBe(2);
    expect(parts.heard).toEqual([]);
  });

  it("leaves a shard without metrics alone for half a minute, and tells so", async ({ expect }) => {
    const parts = aScraper(() => Promise.resolve("none"));
    await parts.scraper.scrapeAll();
    expect(parts.heard).toEqual([{ load: null, inFlight: 1 }]);
    parts.move(29_999);
    await parts.scraper.scrapeAll();
    expect(parts.asked()).toBe(1);
    parts.move(1);
    await parts.scraper.scrapeAll();
    expect(parts.asked()).toBe(2);
  });

  it("passes over a backend that cannot speak for its whole shard", async ({ expect }) => {
    const parts = aScraper(null);
    await parts.scraper.scrapeAll();
    expect(parts.heard).toEqual([]);
  });
});
