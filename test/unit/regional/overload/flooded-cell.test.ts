import { describe, it } from "vitest";
import { createOverload } from "#regional/overload/overload.ts";
import type { SlotReply } from "#regional/scheduler/scheduler.ts";
import type { CellDescription, Priority, Topology } from "#shared/config/topology.ts";
import type { TryResult } from "#shared/conversation/turn-events.ts";
import { createMetricsRegistry } from "#shared/telemetry/metrics.ts";
import { aSchedulerRun, aSlotRequest } from "#test/support/scheduler-run.ts";
import { aTurn } from "#test/unit/shared/overload/a-turn.ts";

const succeeded: TryResult = { kind: "succeeded" };
const stepMs = 100;
/** Twelve slots and two seconds an answer: six turns a second. */
const answerMs = 2_000;
const shards = ["a", "b", "c"];
const slots = 4;

interface Seen {
  asked: number;
  refused: number;
  readonly waitsMs: number[];
}

/** Another cell has shards of the model, so that level 3 sends new conversations there. */
const topology = {
  jurisdictions: new Map([["eu", { models: new Map(), shards: [{ model: "m", cell: "other" }] }]]),
  tenants: new Map(),
} as unknown as Topology;

/**
 * A whole cell's admission, with a tenant at each of the given rates per second, for `seconds`; of the interactive class where
 * nothing else is said.
 */
function flood(
  rates: Readonly<Record<string, number>>,
  seconds: number,
  classes: Readonly<Record<string, Priority>> = {},
) {
  const run = aSchedulerRun({ shards, slots });
  const { book, clock } = run;
  const metrics = createMetricsRegistry();
  const overload = createOverload({
    cell: { id: "c", jurisdiction: "eu" } as CellDescription,
    topology,
    statuses: () => book.statuses(clock.nowMs()),
    scheduler: run.scheduler,
    clock,
    random: { unit: () => 0.5, hex: () => "" },
    metrics,
    log: () => {},
    onLevel: () => {},
  });
  for (const shard of shards) book.probed(shard as never, { ok: true }, clock.nowMs());
  const seen = new Map<string, Seen>();
  const levels: number[] = [];

  function ask(tenant: string, count: number, since: Seen): void {
    const priority = classes[tenant] ?? "interactive";
    const turn = aTurn({ tenant: tenant as never, priority });
    const request = {
      ...turn,
      engine: { ...turn.engine, model: "m" },
      affinity: { homeShard: null, key: `${tenant}-${count}` },
    };
    since.asked += 1;
    const verdict = overload.degrade(request);
    if (verdict.kind === "refused") {
      since.refused += 1;
      return;
    }
    const atMs = clock.nowMs();
    const asked = aSlotRequest({ tenant, priority, affinityKey: request.affinity.key });
    overload.scheduler.acquire(asked, (reply: SlotReply) => {
      if (reply.kind === "none") {
        since.refused += 1;
        if (reply.reason === "shed") overload.throttle.refused(request);
        return;
      }
      overload.guards.dispatched(request);
      since.waitsMs.push(clock.nowMs() - atMs);
      clock.after(300, () => reply.slot.firstToken());
      const usage = { tokens: 100, prompt: null };
      clock.after(answerMs, () => reply.slot.release(succeeded, usage));
    });
  }

  for (let passedMs = 0; passedMs < 1_000 * seconds; passedMs += stepMs) {
    clock.move(stepMs);
    for (const [tenant, rate] of Object.entries(rates)) {
      const since = seen.get(tenant) ?? { asked: 0, refused: 0, waitsMs: [] };
      seen.set(tenant, since);
      const due = Math.floor(((passedMs + stepMs) * rate) / 1_000);
      while (since.asked < due) ask(tenant, since.asked, since);
    }
    overload.tick();
    overload.scheduler.wake();
    levels.push(overload.level.level());
  }
  const of = (tenant: string): Seen => seen.get(tenant) ?? { asked: 0, refused: 0, waitsMs: [] };
  return { of, levels, throttle: overload.throttle };
}

describe("a cell that one tenant floods", () => {
  it("refuses no turn of a tenant that asks for no more than its fair share", ({ expect }) => {
    const { levels, of } = flood({ quiet: 2.1, flood: 30 }, 90);
    expect(Math.max(...levels)).toBeGreaterThanOrEqual(2);
    expect(of("quiet").asked).toBeGreaterThan(180);
    expect(of("quiet").refused).toBe(0);
    expect(Math.max(...of("quiet").waitsMs)).toBeLessThan(2_000);
    expect(of("flood").refused).toBeGreaterThan(0.7 * of("flood").asked);
  });

  it("serves others' standard work beside a flood of critical turns", ({ expect }) => {
    for (const priority of ["critical", "interactive"] as const) {
      const classes = { quiet: "standard", flood: priority } as const;
      const { of } = flood({ quiet: 1.6, flood: 30 }, 90, classes);
      const { asked, refused, waitsMs } = of("quiet");
      expect(asked).toBeGreaterThan(130);
      expect(refused).toBeLessThan(0.05 * asked);
      // All but those that came when the flood began, or still wait.
      expect(waitsMs.filter((ms) => ms < 4_000).length).toBeGreaterThan(0.9 * asked);
    }
  });

  it("gives the one that floods what the others leave", ({ expect }) => {
    const { of } = flood({ quiet: 2.1, flood: 30 }, 90);
    const { asked, refused } = of("flood");
    // Six a second in all; some of it is lost to the levels' room.
    expect((asked - refused) / 90).toBeGreaterThan(2.5);
  });

  it("has the one that floods kept away, and nobody else", ({ expect }) => {
    const { throttle } = flood({ quiet: 2.1, flood: 30 }, 60);
    expect(throttle.header("quiet")).toBeNull();
    expect(throttle.header("flood")).toMatch(/^0,[5-9]\d,0,0$/);
    expect(throttle.header("other")).toBeNull();
  });

  it("lets several tenants share what each of them asks too much of", ({ expect }) => {
    const { of } = flood({ a: 10, b: 10, c: 10, quiet: 1 }, 90);
    expect(of("quiet").refused).toBe(0);
    const served = ["a", "b", "c"].map((tenant) => of(tenant).asked - of(tenant).refused);
    expect(Math.min(...served)).toBeGreaterThan(0.6 * Math.max(...served));
  });
});
