import { describe, it } from "vitest";
import { createShardBook } from "#regional/scheduler/shard-book.ts";
import { defaultBreakerPolicy } from "#shared/breaker/breaker-policy.ts";
import type { ShardDescription } from "#shared/config/topology.ts";
import type { Jurisdiction, ShardId } from "#shared/residency/brands.ts";
import { aSlotRequest } from "#test/support/scheduler-run.ts";

const shard = "c/a" as ShardId;
const dead = { ok: false, reason: "unreachable" } as const;

/** One shard whose breaker is open for the third time, for 16 s from `openedMs` on. */
function aSickShard() {
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
  });
  const fail = (nowMs: number): void => {
    const choice = book.choose(aSlotRequest({ onlyShard: shard }), nowMs);
    if (choice.kind === "none") throw new Error(choice.reason);
    const dispatch = book.begin(choice, nowMs);
    const failure = { reason: "upstreamError", status: 500 } as never;
    book.end(dispatch, { kind: "failed", failure }, { tokens: 0, prompt: null }, nowMs);
  };
  const breakerAt = (nowMs: number) => book.statuses(nowMs)[0]?.breaker;
  book.probed(shard, { ok: true }, 0);
  for (let count = 0; count < 5; count += 1) fail(0);
  fail(4_000);
  fail(12_000);
  return { book, breakerAt, openedMs: 12_000 };
}

describe("a shard whose breaker is open", () => {
  it("is tried again soon after it was gone and answers health checks again", ({ expect }) => {
    const { book, breakerAt, openedMs } = aSickShard();
    book.probed(shard, dead, openedMs + 1_000);
    book.probed(shard, { ok: true }, openedMs + 3_000);
    expect(breakerAt(openedMs + 3_000)).toBe("open");
    book.probed(shard, { ok: true }, openedMs + 5_000);
    expect(breakerAt(openedMs + 5_000)).toBe("halfOpen");
  });

  it("is not, if it has answered health checks all the time: they say nothing of prompts", ({
    expect,
  }) => {
    const { book, breakerAt, openedMs } = aSickShard();
    for (let ms = 1_000; ms < 16_000; ms += 1_000) {
      book.probed(shard, { ok: true }, openedMs + ms);
      expect(breakerAt(openedMs + ms)).toBe("open");
    }
    expect(breakerAt(openedMs + 16_000)).toBe("halfOpen");
  });

  it("is tried again once it has answered a synthetic prompt", ({ expect }) => {
    const { book, breakerAt, openedMs } = aSickShard();
    book.canaried(shard, openedMs + 3_999);
    expect(breakerAt(openedMs + 3_999)).toBe("open");
    book.canaried(shard, openedMs + 4_000);
    expect(breakerAt(openedMs + 4_000)).toBe("halfOpen");
  });
});
