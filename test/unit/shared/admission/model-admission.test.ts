import { describe, it } from "vitest";
import { ModelAdmission } from "#shared/admission/model-admission.ts";
import { defaultQueuePolicy } from "#shared/admission/queue-policy.ts";
import type { Priority } from "#shared/config/topology.ts";

/** A cell's admission in which tenant `flood` was served nearly everything, and `a` a quarter of what it asked for. */
function aFloodedAdmission() {
  const admission = new ModelAdmission<null>(defaultQueuePolicy);
  const ask = (tenant: string, priority: Priority, workTokens: number): void => {
    const subject = { tenant, user: "u", priority, isLaterTurn: false };
    admission.screen(subject, workTokens, 0, () => 0.5);
  };
  ask("flood", "interactive", 1_000_000);
  ask("a", "batch", 4_000);
  const began = (tenant: string, priority: Priority, workTokens: number) =>
    admission.began({ tenant, priority, workTokens, predictedMs: 1_000 }, 0);
  began("flood", "interactive", 100_000);
  began("a", "batch", 1_000);
  const wait = (tenant: string, priority: Priority): void => {
    const turn = { tenant, priority, isLaterTurn: false, costTokens: 100, deadlineMs: 60_000 };
    admission.add(turn, null, 0);
  };
  return { admission, wait };
}

describe("the admission of a flooded model", () => {
  it("lowers others' ceilings for long waits within shares, not for the flood's", ({ expect }) => {
    const ceilingAfter = (tenant: string): number => {
      const { admission, wait } = aFloodedAdmission();
      wait(tenant, "interactive");
      // Longer than an interactive turn may wait without the queue counting as long, not until it is cut.
      for (let nowMs = 0; nowMs <= 6_500; nowMs += 100) admission.tick(nowMs, () => 0);
      expect(admission.queue.isFirst({ tenant: "b", priority: "batch" })).toBe(tenant === "flood");
      return admission.queue.ceilingOf({ tenant: "b", priority: "batch" });
    };
    expect([ceilingAfter("flood"), ceilingAfter("a")]).toEqual([0.75, 0.55]);
  });

  it("serves first what is within a share, though it came last and is of a lower class", ({
    expect,
  }) => {
    const { admission, wait } = aFloodedAdmission();
    admission.tick(100, () => 0);
    wait("flood", "interactive");
    wait("a", "batch");
    const order: string[] = [];
    admission.queue.serve(0, ({ queued }) => {
      admission.queue.take(queued);
      order.push(queued.turn.tenant);
      return "gone";
    });
    expect(order).toEqual(["a", "flood"]);
  });
});
