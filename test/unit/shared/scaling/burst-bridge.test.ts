import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  defaultBridgePolicy,
  lackingNow,
  placeBridge,
  stepBridge,
} from "#shared/scaling/burst-bridge.ts";
import type { BridgePool, BridgeState } from "#shared/scaling/burst-bridge.ts";

const policy = defaultBridgePolicy;

function aPool(id: string, fields: Partial<BridgePool> = {}): BridgePool {
  return { id, isFirm: true, coldStartSeconds: 20, room: 10, ...fields };
}
const slow = aPool("slow", { coldStartSeconds: 260 });

describe("what bridges until slower replicas start", () => {
  it("is what is offered and waits beyond what answers", () => {
    expect(lackingNow({ demand: 8.5, backlogSeconds: 0, ready: 6 }, policy)).toBeCloseTo(4);
    expect(lackingNow({ demand: 0, backlogSeconds: 120, ready: 1 }, policy)).toBeCloseTo(1);
    expect(lackingNow({ demand: 5, backlogSeconds: 0, ready: 6 }, policy)).toBeLessThan(0);
  });

  it("grows at once, and gets smaller or goes when it was not needed for two minutes", () => {
    const first = stepBridge(null, 3, 1_000, policy);
    expect(first).toStrictEqual({ replicas: 3, neededAtMs: 1_000 });
    const more = stepBridge(first, 5, 2_000, policy);
    expect(more).toStrictEqual({ replicas: 5, neededAtMs: 2_000 });
    expect(stepBridge(more, 2, 122_000, policy)).toBe(more);
    expect(stepBridge(more, 2, 122_001, policy)).toStrictEqual({
      replicas: 2,
      neededAtMs: 122_001,
    });
    expect(stepBridge(more, -1, 122_000, policy)).toBe(more);
    expect(stepBridge(more, -1, 122_001, policy)).toBeNull();
    expect(stepBridge(null, 0, 0, policy)).toBeNull();
  });

  it("is in the quickest firm pools that start in half the time of the slowest", () => {
    const placed = placeBridge(
      [slow, aPool("quick", { room: 2 }), aPool("quicker", { coldStartSeconds: 5, room: 2 })],
      2.1,
      policy,
    );
    expect([...placed]).toStrictEqual([
      ["quicker", 2],
      ["quick", 1],
    ]);
    expect(placeBridge([slow, aPool("spot", { isFirm: false })], 2, policy).size).toBe(0);
    expect(placeBridge([slow, aPool("half", { coldStartSeconds: 131 })], 2, policy).size).toBe(0);
    expect(placeBridge([slow, aPool("half", { coldStartSeconds: 130 })], 2, policy).size).toBe(1);
    expect(placeBridge([aPool("a"), aPool("b")], 2, policy).size).toBe(0);
    expect(placeBridge([slow, aPool("full", { room: -1 })], 2, policy).size).toBe(0);
    expect(placeBridge([], 2, policy).size).toBe(0);
  });

  it("is never more than what was lacking within two minutes, nor than there is room", () => {
    const looks = fc.array(
      fc.record({ lacking: fc.double({ min: -5, max: 20, noNaN: true }), byMs: fc.nat(90_000) }),
      { maxLength: 60 },
    );
    fc.assert(
      fc.property(looks, (of) => {
        let state: BridgeState | null = null;
        let nowMs = 0;
        const seen: { readonly atMs: number; readonly lacking: number }[] = [];
        for (const { byMs, lacking } of of) {
          nowMs += byMs;
          seen.push({ atMs: nowMs, lacking });
          state = stepBridge(state, lacking, nowMs, policy);
          const recent = seen.filter(({ atMs }) => nowMs - atMs <= policy.stayMs);
          const most = Math.max(0, ...recent.map((one) => one.lacking));
          expect(state?.replicas ?? 0).toBeLessThanOrEqual(most);
          expect(state?.replicas ?? 0).toBeGreaterThanOrEqual(0);
          if (lacking > 0) expect(state?.replicas ?? 0).toBeGreaterThanOrEqual(lacking);
          const placed = placeBridge(
            [slow, aPool("quick", { room: 4 })],
            state?.replicas ?? 0,
            policy,
          );
          expect(placed.get("quick") ?? 0).toBeLessThanOrEqual(4);
        }
      }),
    );
  });
});
