import { describe, it } from "vitest";
import { createPlatform } from "#dev/simulated-engine/platform.ts";

function aPlatform(scaleToZeroMs: number, coldStartMs: number) {
  let nowMs = 1_000_000;
  let downs = 0;
  const platform = createPlatform({
    scaleToZeroMs,
    coldStartMs,
    whileCold: "refuse",
    nowMs: () => nowMs,
    onDown: () => void (downs += 1),
  });
  return {
    platform,
    downs: () => downs,
    wait: (ms: number) => void (nowMs += ms),
    ask: () => {
      const arrival = platform.arrive();
      platform.leave();
      return arrival;
    },
  };
}

describe("the platform around a simulated engine", () => {
  it("has an engine that starts with it where it keeps engines up", ({ expect }) => {
    const { ask, platform, wait } = aPlatform(0, 5_000);
    expect(ask()).toStrictEqual({ kind: "starting", remainingMs: 5_000 });
    wait(5_000);
    expect(ask()).toStrictEqual({ kind: "up" });
    wait(1e9);
    expect(platform.state()).toStrictEqual({ state: "up", starts: 1 });
  });

  it("starts one with the first request where it scales to zero", ({ expect }) => {
    const { ask, platform, wait } = aPlatform(60_000, 5_000);
    expect(platform.state()).toStrictEqual({ state: "down", starts: 0 });
    expect(ask()).toStrictEqual({ kind: "starting", remainingMs: 5_000 });
    wait(2_000);
    expect(ask()).toStrictEqual({ kind: "starting", remainingMs: 3_000 });
    expect(platform.state()).toStrictEqual({ state: "starting", starts: 1 });
  });

  it("takes it down, with its cache, after the idle time and not before", ({ expect }) => {
    const { ask, downs, platform, wait } = aPlatform(60_000, 5_000);
    ask();
    wait(5_000);
    ask();
    wait(59_999);
    expect(platform.state().state).toBe("up");
    wait(1);
    expect(platform.state().state).toBe("down");
    expect(downs()).toBe(1);
  });

  it("takes nothing down that a request runs on, nor one that has just started", ({ expect }) => {
    const { ask, platform, wait } = aPlatform(60_000, 90_000);
    ask();
    wait(100_000);
    expect(platform.state().state).toBe("up");
    platform.arrive();
    wait(1e6);
    expect(platform.state().state).toBe("up");
    platform.leave();
    wait(60_000);
    expect(platform.state().state).toBe("down");
  });

  it("is taken down by hand, with another time to start", ({ expect }) => {
    const { ask, platform, wait } = aPlatform(60_000, 5_000);
    ask();
    wait(5_000);
    platform.takeDown(20_000);
    expect(ask()).toStrictEqual({ kind: "starting", remainingMs: 20_000 });
  });
});
