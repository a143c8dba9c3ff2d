import { describe, expect, it } from "vitest";
import { EndedTurn } from "#regional/turns/ended-turn.ts";
import type { FrameLog } from "#regional/turns/frame-log.ts";
import type { RunningTurn } from "#regional/turns/running-turn.ts";
import type { TurnEnding } from "#shared/conversation/turn-rendering.ts";
import type { TurnRequest } from "#shared/protocol/internal/turn-request.ts";
import type { ShardId } from "#shared/residency/brands.ts";

const ending = { body: "{}" } as TurnEnding;
const frames = {} as FrameLog;
const shard = "eu-west-1a/s-0" as ShardId;

/** A turn that has ended, and is asked no more than what it came to. */
function aTurn(): RunningTurn {
  const fails = (): never => {
    throw new Error("asked again");
  };
  return {
    request: { turnId: "turn_1" } as TurnRequest,
    frames,
    begun: fails,
    ended: fails,
    ending: fails,
    hasBegun: () => true,
    shard: () => shard,
    expectedWaitMs: fails,
    tick: fails,
    abort: fails,
    handOver: fails,
    leaveShard: fails,
    attach: fails,
    readerCount: () => 0,
  };
}

describe("what is kept of a turn that has ended", () => {
  it("answers like the turn, without asking it again", async () => {
    const kept = new EndedTurn(aTurn(), ending);
    await kept.begun();
    expect(await kept.ended()).toBe(ending);
    expect(kept.ending()).toBe(ending);
    expect([kept.shard(), kept.hasBegun(), kept.expectedWaitMs()]).toEqual([shard, true, null]);
    expect(kept.frames).toBe(frames);
    kept.abort();
    kept.tick();
    expect(kept.ending()).toBe(ending);
  });

  it("counts its readers, each once", () => {
    const kept = new EndedTurn(aTurn(), ending);
    const leave = kept.attach();
    kept.attach();
    expect(kept.readerCount()).toBe(2);
    leave();
    leave();
    expect(kept.readerCount()).toBe(1);
  });
});
