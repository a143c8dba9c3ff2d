import { describe, it } from "vitest";
import { createShardBook } from "#regional/scheduler/shard-book.ts";
import { defaultBreakerPolicy } from "#shared/breaker/breaker-policy.ts";
import type { ShardDescription } from "#shared/config/topology.ts";
import type { Jurisdiction, ShardId } from "#shared/residency/brands.ts";
import { aSlotRequest } from "#test/support/scheduler-run.ts";

const shard = "c/a" as ShardId;

/** How many prompts a shard of eight slots takes at `nowMs`, of a cell that began at 0, once it said `running`. */
function takenAt(nowMs: number, startedAtMs?: number, running?: number): number {
  const book = createShardBook({
    shards: [
      {
        id: shard,
        model: "m",
        revision: "1",
        backend: { kind: "simulated" },
        concurrentRequestsMax: 8,
        kvTokensMax: 400_000,
        pricePerHourMicroUsd: 1_000_000,
      } as ShardDescription,
    ],
    jurisdiction: "eu" as Jurisdiction,
    contextTokensMax: () => 100_000,
    random: () => 0,
    policy: defaultBreakerPolicy,
    ...(startedAtMs === undefined ? {} : { startedAtMs }),
  });
  book.probed(shard, { ok: true }, nowMs);
  if (running !== undefined) {
    const load = { running, waiting: 0, kvShare: null } as never;
    book.reported(shard, load, book.ownOf(shard), nowMs);
  }
  let taken = 0;
  for (; taken < 20; taken += 1) {
    const choice = book.choose(aSlotRequest({ priority: "critical" }), nowMs);
    if (choice.kind === "none") return taken;
    book.firstToken(book.begin(choice, nowMs), nowMs);
  }
  return taken;
}

describe("a cell that was started again", () => {
  it("uses half of a shard's slots at first, and all in the end", ({ expect }) => {
    expect([0, 1_999, 6_000, 10_000].map((nowMs) => takenAt(nowMs, 0))).toEqual([4, 4, 6, 8]);
  });

  it("uses what is left once the shard has told what it works on for the process before", ({
    expect,
  }) => {
    expect(takenAt(2_000, 0, 3)).toBe(5);
    expect(takenAt(2_000, 0, 0)).toBe(8);
  });

  it("uses all at once where no process can have been before it", ({ expect }) => {
    expect(takenAt(0)).toBe(8);
  });
});
