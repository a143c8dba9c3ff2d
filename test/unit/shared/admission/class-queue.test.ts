import { describe, it } from "vitest";
import { createAttainedService } from "#shared/admission/attained-service.ts";
import { ClassQueue } from "#shared/admission/class-queue.ts";
import type { QueuedTurn } from "#shared/admission/tenant-line.ts";

const policy = {
  quantumTokens: 1_000,
  quantumTurns: 2,
  attainedHalfLifeMs: 60_000,
  tenantsMax: 100,
};

function aQueue() {
  const attained = createAttainedService(policy.attainedHalfLifeMs, policy.tenantsMax);
  const queue = new ClassQueue<string>(attained, policy);
  let arrival = 0;
  return {
    queue,
    attained,
    add: (item: string, changes: Partial<QueuedTurn> = {}) => {
      arrival += 1;
      const turn: QueuedTurn = {
        tenant: item[0] ?? "",
        priority: "interactive",
        isLaterTurn: false,
        costTokens: 600,
        deadlineMs: 10_000,
        ...changes,
      };
      const queued = { turn, enqueuedAtMs: arrival, arrival, item };
      queue.add(queued);
      return queued;
    },
    /** Takes turns in the order of service; service is counted. */
    drain: (most = Infinity): string[] => {
      const order: string[] = [];
      for (let next = queue.next(0, new Set(), "within"); next !== null && order.length < most;) {
        queue.take(next);
        attained.add(next.turn.tenant, next.turn.costTokens, 0);
        order.push(next.item);
        next = queue.next(0, new Set(), "within");
      }
      return order;
    },
  };
}

describe("the queue of a class", () => {
  it("serves tenants in turns, however many one of them has sent", ({ expect }) => {
    const { add, drain } = aQueue();
    for (const name of ["a1", "a2", "a3", "a4", "a5"]) add(name);
    add("b1");
    add("b2");
    expect(drain()).toEqual(["a1", "b1", "a2", "b2", "a3", "a4", "a5"]);
  });

  it("shares by tokens, not by turns", ({ expect }) => {
    const { add, drain } = aQueue();
    for (const name of ["a1", "a2", "a3"]) add(name, { costTokens: 3_000 });
    for (let count = 1; count <= 9; count += 1) add(`b${count}`, { costTokens: 1_000 });
    const order = drain(8);
    expect(order.filter((name) => name.startsWith("a"))).toHaveLength(2);
    expect(order.filter((name) => name.startsWith("b"))).toHaveLength(6);
  });

  it("serves a flood of small turns two at a time, however little its tenant was served before", ({
    expect,
  }) => {
    const { add, attained, drain } = aQueue();
    attained.add("b", 50_000, 0);
    for (let count = 1; count <= 20; count += 1) add(`a${count}`, { costTokens: 20 });
    for (let count = 1; count <= 3; count += 1) add(`b${count}`, { costTokens: 20 });
    expect(drain(6)).toEqual(["a1", "a2", "b1", "b2", "a3", "a4"]);
  });

  it("gives up, when it is too long, the oldest of the tenant with most work in it", ({
    expect,
  }) => {
    const { add, queue } = aQueue();
    expect(queue.oldestOfHeaviest()).toBeNull();
    add("a1");
    add("b1");
    add("b2");
    expect([queue.oldest()?.item, queue.oldestOfHeaviest()?.item]).toEqual(["a1", "b1"]);
  });

  it("serves the earliest deadline of a tenant first", ({ expect }) => {
    const { add, drain } = aQueue();
    add("a-late", { deadlineMs: 9_000 });
    add("a-soon", { deadlineMs: 2_000 });
    add("a-next", { deadlineMs: 2_001 });
    expect(drain()).toEqual(["a-soon", "a-next", "a-late"]);
  });

  it("serves a running conversation before a new one, of one tenant and of several", ({
    expect,
  }) => {
    const { add, drain } = aQueue();
    add("a-new", { deadlineMs: 1_000 });
    add("a-running", { isLaterTurn: true });
    add("b-running", { isLaterTurn: true });
    expect(drain()).toEqual(["a-running", "b-running", "a-new"]);
  });

  it("lets running conversations of one tenant delay another's new one by no more than a round", ({
    expect,
  }) => {
    const { add, drain } = aQueue();
    add("b-new");
    for (let count = 1; count <= 20; count += 1) add(`a${count}`, { isLaterTurn: true });
    expect(drain().indexOf("b-new")).toBeLessThanOrEqual(3);
  });

  it("gives no second quantum to a tenant that leaves and comes back in the same round", ({
    expect,
  }) => {
    const { add, attained, queue } = aQueue();
    add("a1", { costTokens: 1_000 });
    add("a2", { costTokens: 1_000 });
    const first = queue.next(0, new Set(), "within");
    if (first !== null) queue.take(first);
    // Its round is spent; another tenant is not, whatever it has attained.
    attained.add("b", 1_000_000, 0);
    for (let count = 0; count < 3; count += 1) {
      const own = add(`b${count}`, { costTokens: 400 });
      const next = queue.next(0, new Set(), "within");
      if (next !== null) queue.take(next);
      expect(next?.item).toBe(count < 2 ? own.item : "a2");
    }
  });

  it("prefers who attained least of late, and forgets with time", ({ expect }) => {
    const { add, attained, queue } = aQueue();
    add("a1");
    add("b1");
    attained.add("a", 4_000, 0);
    attained.add("b", 3_000, 0);
    expect(queue.next(0, new Set(), "within")?.item).toBe("b1");
    attained.add("b", 900, 120_000);
    expect(attained.of("b", 120_000)).toBeCloseTo(1_650);
    expect(queue.next(120_000, new Set(), "within")?.item).toBe("a1");
  });

  it("passes over a tenant whose turn cannot be served now, without giving it credit for ever", ({
    expect,
  }) => {
    const { add, queue } = aQueue();
    add("a1", { costTokens: 1_500 });
    for (let count = 0; count < 50; count += 1) add(`b${count}`, { costTokens: 1_000 });
    const passed = new Set(["a"]);
    for (let count = 0; count < 50; count += 1) {
      const next = queue.next(0, passed, "within");
      if (next !== null) queue.take(next);
      expect(next?.turn.tenant).toBe("b");
    }
    expect(queue.next(0, passed, "within")).toBeNull();
    for (let count = 0; count < 9; count += 1) add(`a-more${count}`, { costTokens: 1_000 });
    add("b-again", { costTokens: 1_000 });
    const order = [0, 1, 2, 3, 4].map(() => {
      const next = queue.next(0, new Set(), "within");
      if (next !== null) queue.take(next);
      return next?.turn.tenant;
    });
    expect(order).toContain("b");
  });

  it("serves the newest first when it is told to, and the earliest deadline again afterwards", ({
    expect,
  }) => {
    const { add, drain, queue } = aQueue();
    add("a1", { deadlineMs: 1 });
    add("a2", { deadlineMs: 2 });
    add("a3", { deadlineMs: 3 });
    queue.setOrder("newestFirst");
    expect(drain(1)).toEqual(["a3"]);
    queue.setOrder("deadlineFirst");
    expect(drain()).toEqual(["a1", "a2"]);
  });

  it("knows the longest waiting, and of the heaviest tenant the last in line", ({ expect }) => {
    const { add, queue } = aQueue();
    expect([queue.oldest(), queue.mostExpendable("within")]).toEqual([null, null]);
    const first = add("a1", { deadlineMs: 9 });
    add("b1", { deadlineMs: 5 });
    add("b2", { deadlineMs: 7 });
    expect(queue.oldest()).toBe(first);
    expect(queue.mostExpendable("within")?.item).toBe("b2");
  });

  it("counts the work before a turn as fair rounds will serve it", ({ expect }) => {
    const { add, queue } = aQueue();
    for (let count = 0; count < 100; count += 1) add(`a${count}`, { costTokens: 100 });
    expect(queue.workBefore("b", 500)).toBe(500);
    expect(queue.workBefore("a", 500)).toBe(10_000);
    queue.setOrder("newestFirst");
    expect(queue.workBefore("a", 500)).toBe(0);
  });

  it("takes each turn out once", ({ expect }) => {
    const { add, queue } = aQueue();
    const only = add("a1");
    expect([queue.remove(only), queue.remove(only), queue.take(only)]).toEqual([
      true,
      false,
      false,
    ]);
    expect([queue.length, queue.workTokens]).toEqual([0, 0]);
  });
});

describe("the memory of attained service", () => {
  it("keeps no more tenants than allowed, and forgets the one longest without service", ({
    expect,
  }) => {
    const attained = createAttainedService(60_000, 2);
    for (const tenant of ["a", "b", "a", "c"]) attained.add(tenant, 10, 0);
    expect([attained.size(), attained.of("a", 0), attained.of("b", 0)]).toEqual([2, 20, 0]);
  });
});
