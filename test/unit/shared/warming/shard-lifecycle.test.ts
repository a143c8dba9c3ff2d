import { describe, it } from "vitest";
import { newLifecycle, stepLifecycle, viewLifecycle } from "#shared/warming/shard-lifecycle.ts";
import type { LifecycleEvent, LifecyclePolicy } from "#shared/warming/shard-lifecycle.ts";

const startMs = 1_800_000_000_000;
const serverless: LifecyclePolicy = { scaleToZeroMs: 300_000, coldStartMs: 70_000 };
const steady: LifecyclePolicy = { scaleToZeroMs: null, coldStartMs: 70_000 };

/** A shard whose clock is moved by hand. */
function aShard(policy: LifecyclePolicy) {
  let state = newLifecycle(policy, startMs);
  let nowMs = startMs;
  return {
    after(seconds: number) {
      nowMs += seconds * 1_000;
      return this;
    },
    step(event: LifecycleEvent) {
      const step = stepLifecycle(state, event, nowMs, policy);
      state = step.state;
      return step;
    },
    is(kind: "sent" | "spoke" | "ended" | "foundCold") {
      this.step({ kind });
      return this;
    },
    view: (isBroken = false) => viewLifecycle(state, isBroken, nowMs, policy),
  };
}

describe("a shard that nothing is known of", () => {
  it("is taken as ready where its platform keeps it up", ({ expect }) => {
    expect(aShard(steady).view()).toStrictEqual({
      lifecycle: "ready",
      reason: "assumedReady",
      readyInMs: 0,
    });
  });

  it("is taken as cold where its platform takes idle shards down", ({ expect }) => {
    expect(aShard(serverless).view()).toStrictEqual({
      lifecycle: "cold",
      reason: "assumedCold",
      readyInMs: 70_000,
    });
  });
});

describe("a shard whose platform takes idle ones down", () => {
  it("is warming from the first prompt on, and ready with its first token", ({ expect }) => {
    const shard = aShard(serverless).is("sent");
    expect(shard.view()).toStrictEqual({
      lifecycle: "warming",
      reason: "woken",
      readyInMs: 70_000,
    });
    shard.after(50);
    expect(shard.step({ kind: "spoke" }).startedInMs).toBe(50_000);
    expect(shard.view()).toStrictEqual({ lifecycle: "ready", reason: "answers", readyInMs: 0 });
  });

  it("goes cold when nobody asked for as long as the platform waits, not before", ({ expect }) => {
    const shard = aShard(serverless).is("sent").is("spoke").is("ended");
    expect(shard.after(299).view().lifecycle).toBe("ready");
    expect(shard.after(1).view()).toMatchObject({ lifecycle: "cold", reason: "idle" });
  });

  it("does not go cold under a long answer", ({ expect }) => {
    const shard = aShard(serverless).is("sent").is("spoke").after(900);
    expect(shard.view().lifecycle).toBe("ready");
    shard.is("ended").after(299);
    expect(shard.view().lifecycle).toBe("ready");
  });

  it("stays warm under prompts that come in time", ({ expect }) => {
    const shard = aShard(serverless).is("sent").is("spoke").is("ended");
    for (let round = 0; round < 5; round += 1) shard.after(240).is("sent").is("spoke").is("ended");
    expect(shard.view().lifecycle).toBe("ready");
  });

  it("begins a new start when it is asked after it went cold", ({ expect }) => {
    const shard = aShard(serverless).is("sent").is("spoke").is("ended").after(400).is("sent");
    expect(shard.view()).toMatchObject({ lifecycle: "warming", readyInMs: 70_000 });
  });

  it("teaches nothing when it turns out that it was warm", ({ expect }) => {
    const shard = aShard(serverless).is("sent").after(0.3);
    expect(shard.step({ kind: "spoke" }).startedInMs).toBeNull();
    shard.is("ended").after(400);
    expect(shard.view().readyInMs).toBe(70_000);
  });

  it("counts a short start when the platform said that it was cold", ({ expect }) => {
    const shard = aShard(serverless).is("sent").is("foundCold").is("ended").after(1);
    expect(shard.step({ kind: "spoke" }).startedInMs).toBe(1_000);
  });
});

describe("a start", () => {
  it("is expected to take less the longer it is on its way", ({ expect }) => {
    const shard = aShard(serverless).is("sent");
    expect(shard.after(30).view().readyInMs).toBe(40_000);
  });

  it("is never expected to be over while it is not, and to take the longer the later it is", ({
    expect,
  }) => {
    const shard = aShard(serverless).is("sent").after(80);
    expect(shard.view().readyInMs).toBe(20_000);
    expect(shard.after(80).view().readyInMs).toBe(40_000);
  });

  it("has failed after four times its expected time", ({ expect }) => {
    const shard = aShard(serverless).is("sent").after(280);
    expect(shard.view().lifecycle).toBe("warming");
    expect(shard.after(1).view()).toStrictEqual({
      lifecycle: "failed",
      reason: "startTimeout",
      readyInMs: null,
    });
    expect(shard.is("spoke").view().lifecycle).toBe("ready");
  });

  it("goes on from when it was asked for, however often the shard says that it is cold", ({
    expect,
  }) => {
    const shard = aShard(serverless).is("sent").is("foundCold").is("ended");
    shard.after(20).is("sent").is("foundCold").is("ended").after(20);
    expect(shard.view().readyInMs).toBe(30_000);
    expect(shard.step({ kind: "spoke" }).startedInMs).toBe(40_000);
  });

  it("is learnt: the declared time counts as one of the first two and then no more", ({
    expect,
  }) => {
    const shard = aShard(serverless);
    const learnt = [10, 12, 14, 11].map((seconds) => {
      shard.is("sent").is("foundCold").after(seconds).is("spoke").is("ended").after(300);
      return shard.view().readyInMs;
    });
    expect(learnt).toStrictEqual([70_000, 70_000, 14_000, 12_000]);
  });
});

describe("a shard whose platform keeps it up", () => {
  it("is ready however long nobody asks", ({ expect }) => {
    expect(aShard(steady).is("sent").is("spoke").is("ended").after(1e6).view().lifecycle).toBe(
      "ready",
    );
  });

  it("is warming all the same when it says that it is not running", ({ expect }) => {
    const shard = aShard(steady).is("sent").is("foundCold").is("ended");
    expect(shard.view()).toMatchObject({ lifecycle: "warming", reason: "saidCold" });
  });
});

describe("what stands above warmth", () => {
  it("is a drain, then a breaker that is open", ({ expect }) => {
    const shard = aShard(serverless);
    expect(shard.view(true)).toStrictEqual({
      lifecycle: "failed",
      reason: "breaker",
      readyInMs: null,
    });
    shard.step({ kind: "drain", isDraining: true });
    expect(shard.view(true).lifecycle).toBe("draining");
    shard.step({ kind: "drain", isDraining: false });
    expect(shard.view().lifecycle).toBe("cold");
  });

  it("is the region's plan: what shall end takes nothing more, what has ended is cold until the plan says otherwise", ({
    expect,
  }) => {
    const shard = aShard(steady);
    shard.step({ kind: "scaled", to: "ending" });
    expect(shard.view()).toStrictEqual({
      lifecycle: "draining",
      reason: "scaledDown",
      readyInMs: null,
    });
    shard.step({ kind: "scaled", to: "stopped" });
    // An engine that was ended on purpose is not ill, and no prompt starts it.
    expect(shard.view(true)).toStrictEqual({
      lifecycle: "cold",
      reason: "scaledDown",
      readyInMs: null,
    });
    shard.step({ kind: "drain", isDraining: true });
    expect(shard.view()).toMatchObject({ lifecycle: "draining", reason: "drained" });
    shard.step({ kind: "drain", isDraining: false });
    shard.step({ kind: "scaled", to: "running" });
    expect(shard.view().lifecycle).toBe("ready");
  });
});
