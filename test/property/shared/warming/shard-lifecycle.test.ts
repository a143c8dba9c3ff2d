import fc from "fast-check";
import { describe, it } from "vitest";
import { newLifecycle, stepLifecycle, viewLifecycle } from "#shared/warming/shard-lifecycle.ts";
import type { LifecycleEvent, LifecyclePolicy } from "#shared/warming/shard-lifecycle.ts";

const startMs = 1_800_000_000_000;

const events: fc.Arbitrary<LifecycleEvent> = fc.oneof(
  fc.constantFrom<LifecycleEvent>(
    { kind: "sent" },
    { kind: "spoke" },
    { kind: "ended" },
    { kind: "foundCold" },
  ),
  fc.boolean().map((isDraining): LifecycleEvent => ({ kind: "drain", isDraining })),
);
const policies: fc.Arbitrary<LifecyclePolicy> = fc.record({
  scaleToZeroMs: fc.option(fc.integer({ min: 1_000, max: 3_600_000 })),
  coldStartMs: fc.integer({ min: 0, max: 3_600_000 }),
});
/** Clocks stand still and go back now and then. */
const runs = fc.array(fc.tuple(events, fc.integer({ min: -5_000, max: 900_000 })), {
  maxLength: 60,
});

describe("a shard's life, whatever happens to it", () => {
  it("has a wait that is a time above 0 exactly while it is cold or warming", ({ expect }) => {
    fc.assert(
      fc.property(policies, runs, fc.boolean(), (policy, run, isBroken) => {
        let state = newLifecycle(policy, startMs);
        let nowMs = startMs;
        for (const [event, aheadMs] of run) {
          nowMs += aheadMs;
          ({ state } = stepLifecycle(state, event, nowMs, policy));
          const { lifecycle, readyInMs } = viewLifecycle(state, isBroken, nowMs, policy);
          expect(state.running).toBeGreaterThanOrEqual(0);
          if (lifecycle === "ready") expect(readyInMs).toBe(0);
          else if (lifecycle === "cold" || lifecycle === "warming") {
            expect(Number.isFinite(readyInMs)).toBe(true);
            expect(readyInMs).toBeGreaterThan(0);
          } else expect(readyInMs).toBeNull();
        }
      }),
    );
  });

  it("never goes cold by time alone where the platform keeps it up or a prompt runs", ({
    expect,
  }) => {
    fc.assert(
      fc.property(policies, runs, fc.nat(1e9), (policy, run, laterMs) => {
        let state = newLifecycle(policy, startMs);
        let nowMs = startMs;
        for (const [event, aheadMs] of run) {
          nowMs += aheadMs;
          ({ state } = stepLifecycle(state, event, nowMs, policy));
        }
        if (state.kind !== "ready") return;
        if (policy.scaleToZeroMs !== null && state.running === 0) return;
        const { lifecycle } = viewLifecycle(state, false, nowMs + laterMs, policy);
        expect(lifecycle).toBe(state.isDraining ? "draining" : "ready");
      }),
    );
  });
});
