import { afterEach, beforeEach, describe, it, vi } from "vitest";
import { decodeHint } from "#shared/health/hint-codec.ts";
import type { CellHint } from "#shared/health/hint.ts";
import { hintKey } from "#shared/health/hint.ts";
import { aSnapshot, mac, startHealthHarness, west } from "./harness.ts";
import type { HealthHarness } from "./harness.ts";

let kv: HealthHarness;
let weight: number;
beforeEach(async () => {
  // Only the publisher's own timer is driven by hand; sockets and time limits stay real.
  vi.useFakeTimers({ toFake: ["setInterval", "clearInterval"] });
  kv = await startHealthHarness();
  weight = 1;
});
afterEach(async () => {
  vi.useRealTimers();
  await kv.close();
});

const snapshot = () => aSnapshot(west, weight);

async function published(): Promise<CellHint | null> {
  const decoded = await decodeHint(await kv.redis.get(hintKey(west)), mac, { cell: west });
  return decoded.ok ? decoded.hint : null;
}

/** The hint once it has this counter. */
const reaches = (counter: number): Promise<void> =>
  vi.waitFor(async () => {
    if ((await published())?.counter !== counter) throw new Error(`no hint ${counter} yet`);
  }, 5_000);

/** Time goes on for the clock and the timer together. */
function pass(ms: number): void {
  for (let passed = 0; passed < ms; passed += 250) {
    kv.advance(250);
    vi.advanceTimersByTime(250);
  }
}

describe("createHealthPublisher", () => {
  it("publishes at once, with its start as boot, and lets the hint expire after 300 s", async ({
    expect,
  }) => {
    const bootMs = kv.nowMs();
    const publisher = kv.publisher(west, snapshot);
    kv.advance(5_000);
    publisher.start();
    await reaches(1);
    expect(await published()).toEqual({
      v: 2,
      cell: west,
      boot: bootMs,
      counter: 1,
      atMs: bootMs + 5_000,
      ...snapshot(),
    });
    const seconds = await kv.redis.ttl(hintKey(west));
    expect(seconds).toBeGreaterThan(290);
    expect(seconds).toBeLessThanOrEqual(300);
  });

  it("publishes a change at once when told, but not twice in one second", async ({ expect }) => {
    const startMs = kv.nowMs();
    const publisher = kv.publisher(west, snapshot);
    publisher.start();
    await reaches(1);
    weight = 0.5;
    kv.advance(999);
    publisher.notify();
    kv.advance(1);
    publisher.notify();
    await reaches(2);
    expect(await published()).toMatchObject({ weight: 0.5, counter: 2, atMs: startMs + 1_000 });
  });

  it("finds a change by itself within a second", async ({ expect }) => {
    kv.publisher(west, snapshot).start();
    await reaches(1);
    weight = 0.5;
    pass(1_000);
    await reaches(2);
    expect(await published()).toMatchObject({ weight: 0.5 });
  });

  it("says nothing while nothing changes, but for a heartbeat every 30 s", async ({ expect }) => {
    const startMs = kv.nowMs();
    kv.publisher(west, snapshot).start();
    await reaches(1);
    pass(29_750);
    expect(await published()).toMatchObject({ counter: 1 });
    pass(250);
    await reaches(2);
    expect(await published()).toMatchObject({ atMs: startMs + 30_000 });
  });

  it("starts once, and says nothing before its start or after its stop", async ({ expect }) => {
    const publisher = kv.publisher(west, snapshot);
    publisher.notify();
    expect(await kv.redis.exists(hintKey(west))).toBe(0);
    publisher.start();
    publisher.start();
    expect(vi.getTimerCount()).toBe(1);
    await reaches(1);
    publisher.stop();
    weight = 0.5;
    pass(60_000);
    publisher.notify();
    expect(await published()).toMatchObject({ counter: 1, weight: 1 });
    expect(vi.getTimerCount()).toBe(0);
    publisher.start();
    await reaches(2);
  });

  it.for<[string, object]>([
    ["dead", { kind: "dead" }],
    ["answering 500", { kind: "status", status: 500 }],
    ["answering garbage", { kind: "garbage" }],
    ["answering a web page", { kind: "html" }],
    ["slow", { kind: "delay", delayMs: 20_000 }],
  ])(
    "counts a KV that is %s, goes on, and writes again when it is back",
    async ([, fault], { expect }) => {
      await kv.fault(fault);
      const publisher = kv.publisher(west, snapshot);
      publisher.start();
      await vi.waitFor(() => expect(publisher.failures).toEqual(["unreachable"]), 10_000);
      await kv.clearFaults();
      pass(1_000);
      await reaches(2);
      expect(publisher.failures).toEqual(["unreachable"]);
    },
  );

  it("holds one write at a time, however slow the KV is", async ({ expect }) => {
    await kv.fault({ kind: "delay", delayMs: 20_000 });
    const publisher = kv.publisher(west, snapshot);
    publisher.start();
    for (const next of [0.9, 0.8, 0.7]) {
      weight = next;
      pass(1_000);
    }
    await vi.waitFor(() => expect(publisher.failures).toEqual(["unreachable"]), 10_000);
    await kv.clearFaults();
    pass(250);
    await reaches(2);
    // Three changes came while the first write was out; one write carries the last of them.
    expect(await published()).toMatchObject({ counter: 2, weight: 0.7 });
  });

  it("never writes what a hint may not hold, and survives a cell that cannot describe itself", async ({
    expect,
  }) => {
    const leaky = kv.publisher(west, () => ({ ...snapshot(), models: ["https://evil.example"] }));
    leaky.start();
    await vi.waitFor(() => expect(leaky.failures).toEqual(["invalid"]), 5_000);
    expect(await kv.redis.exists(hintKey(west))).toBe(0);
    const broken = kv.publisher(west, () => {
      throw new Error("no snapshot");
    });
    broken.start();
    expect(broken.failures).toEqual(["snapshot"]);
  });
});
