import { describe, expect, it } from "vitest";
import { createLeaseKeeper } from "#regional/scaler/lease-keeper.ts";
import { MemoryScalingStore } from "#test/support/memory-scaling-store.ts";

const policy = { leaseMs: 20_000, renewMs: 4_000, marginMs: 7_000, callMs: 2_000 };

/** A database and two cells, each with clocks of its own. */
function aRegion() {
  const time = { databaseMs: 0 };
  const store = new MemoryScalingStore(() => time.databaseMs);
  const aCell = (holder: string, rate = 1) => {
    const clock = { monotonicMs: 0 };
    const keeper = createLeaseKeeper({
      store,
      holder,
      nowMs: () => 0,
      monotonicMs: () => clock.monotonicMs,
      policy,
    });
    return { keeper, pass: (ms: number) => void (clock.monotonicMs += ms * rate) };
  };
  return { store, time, aCell };
}

describe("a lease", () => {
  it("is held by one, and ends for its holder a margin before another may have it", async () => {
    const { aCell, time } = aRegion();
    const [one, other] = [aCell("one"), aCell("other")];
    expect(await one.keeper.renew()).toStrictEqual({ token: 1, untilMs: 13_000 });
    expect(await other.keeper.renew()).toBeNull();
    one.pass(12_999);
    expect(one.keeper.current()).not.toBeNull();
    one.pass(1);
    expect(one.keeper.current()).toBeNull();
    time.databaseMs = 19_999;
    other.pass(19_999);
    expect(await other.keeper.renew()).toBeNull();
    time.databaseMs = 20_000;
    other.pass(4_000);
    expect(await other.keeper.renew()).toMatchObject({ token: 2 });
  });

  it("is over for a holder whose clock runs a third too slow before another begins", async () => {
    const { aCell, time } = aRegion();
    const slow = aCell("slow", 2 / 3);
    await slow.keeper.renew();
    time.databaseMs = 20_000;
    slow.pass(20_000);
    expect(slow.keeper.current()).toBeNull();
  });

  it("is counted from before the question, however late the answer comes", async () => {
    const { aCell, store } = aRegion();
    const one = aCell("one");
    const acquire = store.acquire.bind(store);
    store.acquire = (holder, leaseMs) => {
      one.pass(12_999);
      return acquire(holder, leaseMs);
    };
    expect(await one.keeper.renew()).toMatchObject({ untilMs: 13_000 });
    one.pass(1);
    expect(one.keeper.current()).toBeNull();
  });

  it("is asked for every few seconds, not at each look", async () => {
    const { aCell, store } = aRegion();
    const one = aCell("one");
    await one.keeper.renew();
    store.isAway = true;
    one.pass(3_999);
    expect(await one.keeper.renew()).toMatchObject({ token: 1, untilMs: 13_000 });
  });

  it("runs out while the database is away, and is another one afterwards", async () => {
    const { aCell, store, time } = aRegion();
    const one = aCell("one");
    await one.keeper.renew();
    store.isAway = true;
    one.pass(8_000);
    expect(await one.keeper.renew()).toMatchObject({ untilMs: 13_000 });
    one.pass(5_000);
    expect(await one.keeper.renew()).toBeNull();
    store.isAway = false;
    time.databaseMs = 21_000;
    one.pass(8_000);
    expect(await one.keeper.renew()).toMatchObject({ token: 2 });
  });

  it("that somebody else has turns out to be lost at once", async () => {
    const { aCell, time } = aRegion();
    const [one, other] = [aCell("one"), aCell("other")];
    await one.keeper.renew();
    time.databaseMs = 20_000;
    await other.keeper.renew();
    // Its own clock has stood still.
    one.pass(4_000);
    expect(await one.keeper.renew()).toBeNull();
    expect(one.keeper.current()).toBeNull();
  });

  it("that is given up is free at once, and a lost one is not given up for others", async () => {
    const { aCell } = aRegion();
    const [one, other] = [aCell("one"), aCell("other")];
    await one.keeper.renew();
    await one.keeper.release();
    expect(one.keeper.current()).toBeNull();
    expect(await other.keeper.renew()).toMatchObject({ token: 2 });
    one.keeper.lose();
    await one.keeper.release();
    expect(other.keeper.current()).toMatchObject({ token: 2 });
  });
});
