import { describe, it } from "vitest";
import type { Standings } from "#shared/admission/fair-shares.ts";
import { ModelQueue } from "#shared/admission/model-queue.ts";
import { defaultQueuePolicy } from "#shared/admission/queue-policy.ts";
import type { QueuedTurn } from "#shared/admission/tenant-line.ts";
import { priorities } from "#shared/config/topology.ts";
import type { Priority } from "#shared/config/topology.ts";

/** A queue in which tenant `flood` was served more than its share, from a class on, or only asks for it. */
function aQueue(from: Priority | null = "critical", wasServed = true) {
  const isBeyond = (tenant: string, priority: Priority): boolean =>
    from !== null && tenant === "flood" && priorities.indexOf(priority) >= priorities.indexOf(from);
  const standings: Standings = {
    hasOver: () => from !== null && wasServed,
    isOver: (tenant, priority) => wasServed && isBeyond(tenant, priority),
    asksTooMuch: isBeyond,
  };
  const queue = new ModelQueue<string>(defaultQueuePolicy, standings);
  const add = (item: string, turn: Partial<QueuedTurn> = {}) => queue.add(aTurn(turn), item, 0);
  return { queue, add };
}

function aTurn(changes: Partial<QueuedTurn> = {}): QueuedTurn {
  return {
    tenant: "a",
    priority: "standard",
    isLaterTurn: false,
    costTokens: 100,
    deadlineMs: 60_000,
    ...changes,
  };
}

/** Names in the order of service. */
function orderOf(queue: ModelQueue<string>): readonly string[] {
  const order: string[] = [];
  queue.serve(0, ({ queued }) => {
    queue.take(queued);
    order.push(queued.item);
    return "gone";
  });
  return order;
}

describe("a queue with a tenant above its share", () => {
  it("serves others' work first, of any class, then its own by class", ({ expect }) => {
    const { add, queue } = aQueue();
    for (const priority of priorities) add(`flood-${priority}`, { tenant: "flood", priority });
    for (const priority of priorities.toReversed()) add(priority, { priority });
    expect(orderOf(queue)).toEqual([
      ...priorities,
      ...priorities.map((priority) => `flood-${priority}`),
    ]);
  });

  it("keeps those of its classes in front that are within its share", ({ expect }) => {
    const { add, queue } = aQueue("standard");
    for (const priority of priorities) add(`flood-${priority}`, { tenant: "flood", priority });
    add("batch", { priority: "batch" });
    expect(orderOf(queue)).toEqual([
      "flood-critical",
      "flood-interactive",
      "batch",
      "flood-standard",
      "flood-batch",
    ]);
  });

  it("offers it nothing while others' work waits for room", ({ expect }) => {
    const { add, queue } = aQueue();
    add("flood", { tenant: "flood", priority: "critical" });
    add("batch", { priority: "batch" });
    const offered: string[] = [];
    queue.serve(0, ({ queued }) => {
      offered.push(queued.item);
      return "full";
    });
    expect(offered).toEqual(["batch"]);
  });

  it("offers it what others cannot use", ({ expect }) => {
    const { add, queue } = aQueue();
    add("flood", { tenant: "flood", priority: "batch" });
    add("blocked", { priority: "batch" });
    const offered: string[] = [];
    queue.serve(0, ({ queued }) => {
      offered.push(queued.item);
      return "blocked";
    });
    expect(offered).toEqual(["blocked", "flood"]);
  });

  it("lets a later turn go before a first one of its class, and never before others' work", ({
    expect,
  }) => {
    const { add, queue } = aQueue();
    add("flood-first", { tenant: "flood" });
    add("flood-later", { tenant: "flood", isLaterTurn: true });
    add("a-first");
    add("a-later", { isLaterTurn: true });
    expect(orderOf(queue)).toEqual(["a-later", "a-first", "flood-later", "flood-first"]);
  });

  it("serves a begun answer of it before all that has not begun", ({ expect }) => {
    const { add, queue } = aQueue();
    add("flood", { tenant: "flood", priority: "critical" });
    add("begun", { tenant: "flood", priority: "critical", hasBegun: true });
    add("interactive", { priority: "interactive" });
    expect(queue.isFirst({ tenant: "flood", priority: "critical", hasBegun: true })).toBe(false);
    expect(orderOf(queue)).toEqual(["begun", "interactive", "flood"]);
  });

  it("lets a turn of others pass by, and none of its own while others wait", ({ expect }) => {
    const { add, queue } = aQueue();
    const waiting = add("flood", { tenant: "flood", priority: "critical" });
    expect(queue.isFirst({ tenant: "a", priority: "batch" })).toBe(true);
    expect(queue.isFirst({ tenant: "flood", priority: "critical" })).toBe(false);
    queue.remove(waiting);
    expect(queue.isFirst({ tenant: "flood", priority: "critical" })).toBe(true);
    add("batch", { priority: "batch" });
    expect(queue.isFirst({ tenant: "flood", priority: "critical" })).toBe(false);
  });

  it("fills shards with its work, but for a tenth; its waiting lowers no one's ceiling", ({
    expect,
  }) => {
    const { add, queue } = aQueue();
    expect(queue.ceilingOf({ tenant: "flood", priority: "critical" })).toBe(0.9);
    expect(queue.ceilingOf({ tenant: "flood", priority: "batch" })).toBe(0.75);
    expect(queue.ceilingOf({ tenant: "a", priority: "critical" })).toBe(1);
    add("flood", { tenant: "flood", priority: "critical" });
    expect(queue.ceilingOf({ tenant: "a", priority: "batch" })).toBe(0.75);
    expect(queue.ceilingOf({ tenant: "flood", priority: "batch" })).toBe(0.55);
    add("a", { priority: "critical" });
    expect(queue.ceilingOf({ tenant: "a", priority: "batch" })).toBe(0.55);
  });

  it("takes its places in a full queue first, whatever the classes", ({ expect }) => {
    const { add, queue } = aQueue();
    add("a-batch", { priority: "batch" });
    const critical = add("flood", { tenant: "flood", priority: "critical" });
    expect(queue.victimFor(aTurn({ tenant: "b", priority: "batch" }))).toBe(critical);
    const batch = add("flood", { tenant: "flood", priority: "batch" });
    expect(queue.victimFor(aTurn({ tenant: "b", priority: "batch" }))).toBe(batch);
    expect(queue.victimFor(aTurn({ tenant: "flood", priority: "critical" }))).toBe(batch);
    expect(queue.victimFor(aTurn({ tenant: "flood", priority: "batch" }))).toBeNull();
  });

  it("foresees that its work waits behind that of all others, and theirs behind none of it", ({
    expect,
  }) => {
    const { add, queue } = aQueue();
    for (let count = 0; count < 10; count += 1) add("", { tenant: "flood", priority: "critical" });
    add("", { priority: "batch", costTokens: 300 });
    add("", { priority: "interactive", costTokens: 200 });
    expect(queue.workBefore(aTurn({ tenant: "b", priority: "batch", costTokens: 500 }))).toBe(500);
    expect(queue.workBefore(aTurn({ tenant: "flood", priority: "critical" }))).toBe(1_500);
  });

  it("does not count the backlog of one that asks for too much against the others, though it is served now", ({
    expect,
  }) => {
    const { add, queue } = aQueue("critical", false);
    for (let count = 0; count < 10; count += 1) {
      add("", { tenant: "flood", priority: "critical" });
      add("", { tenant: "flood" });
    }
    add("", { priority: "interactive" });
    expect(queue.workBefore(aTurn({ tenant: "b" }))).toBe(100);
    expect(queue.workBefore(aTurn({ tenant: "flood" }))).toBe(2_100);
    expect(queue.isFirst({ tenant: "b", priority: "critical" })).toBe(false);
  });

  it("is a queue by class alone when nobody is above", ({ expect }) => {
    const { add, queue } = aQueue(null);
    for (const priority of priorities.toReversed()) {
      add(priority, { priority });
      add(`flood-${priority}`, { tenant: "flood", priority });
    }
    expect(orderOf(queue).map((name) => name.replace("flood-", ""))).toEqual(
      priorities.flatMap((priority) => [priority, priority]),
    );
  });
});
