import { describe, it } from "vitest";
import type { TurnEffect, TurnEvent } from "#shared/conversation/turn-events.ts";
import { defaultTurnPolicy } from "#shared/conversation/turn-policy.ts";
import { stepTurn } from "#shared/conversation/turn-runner.ts";
import { initialTurnState } from "#shared/conversation/turn-state.ts";
import type { TurnState } from "#shared/conversation/turn-state.ts";
import type { TurnRequest } from "#shared/protocol/internal/turn-request.ts";
import type { ShardId } from "#shared/residency/brands.ts";

const request = {
  deadlineMs: 100_000,
  rendering: { stream: true },
  resume: null,
  hop: 0,
  engine: { path: "chat/completions", model: "m", body: {}, promptTokensEstimate: 9 },
} as unknown as TurnRequest;

function step(state: TurnState, event: TurnEvent) {
  return stepTurn(state, event, request, 10, defaultTurnPolicy);
}

function feed(state: TurnState, ...events: readonly TurnEvent[]): TurnState {
  return events.reduce((at, event) => step(at, event).state, state);
}

function chosen(shard: string): TurnEvent {
  return {
    kind: "shardChosen",
    shard: shard as ShardId,
    rejected: [],
    queueWaitMs: 0,
    ability: "text",
    contextTokensMax: 1000,
  };
}

function says(text: string, ofTry: number): TurnEvent {
  return { kind: "engine", try: ofTry, event: { kind: "delta", choice: 0, text } };
}

function drained(ofTry: number): TurnEvent {
  return { kind: "shardFailed", try: ofTry, failure: { reason: "drained" } };
}

const running = feed(initialTurnState(), { kind: "start" }, chosen("a"), says("Hel", 1));
const kindsOf = (effects: readonly TurnEffect[]): readonly string[] =>
  effects.map(({ kind }) => kind);

describe("a shard that is drained under a turn", () => {
  it("is told to stop, is not blamed, and another one goes on", ({ expect }) => {
    const left = step(running, drained(1));
    expect(left.effects).toEqual([
      { kind: "abortShard", try: 1 },
      {
        kind: "releaseShard",
        try: 1,
        shard: "a",
        result: { kind: "failed", failure: { reason: "drained" } },
      },
      { kind: "chooseShard", excluded: ["a"] },
    ]);
    const next = step(left.state, chosen("b"));
    expect(next.effects).toMatchObject([{ kind: "dispatch", shard: "b" }]);
    const seam = step(next.state, says("lo", 2));
    expect(kindsOf(seam.effects)).toEqual(["seam", "deliver"]);
  });

  it("keeps a turn that was continued as often as it may be", ({ expect }) => {
    let state = running;
    for (let count = 1; count <= defaultTurnPolicy.continuationsMax; count += 1) {
      state = feed(state, drained(count), chosen(`s${count}`), says("x", count + 1));
    }
    expect(state.continuations).toBe(defaultTurnPolicy.continuationsMax);
    const kept = step(state, drained(defaultTurnPolicy.continuationsMax + 1));
    expect(kept).toMatchObject({ effects: [], reason: "ignored" });
    expect(kept.state).toBe(state);
  });

  it("before its first token hands the prompt to another one, unseen", ({ expect }) => {
    const dispatched = feed(initialTurnState(), { kind: "start" }, chosen("a"));
    const left = step(dispatched, drained(1));
    expect(kindsOf(left.effects)).toEqual(["abortShard", "releaseShard", "chooseShard"]);
    expect(left.state.continuations).toBe(0);
  });

  it("of an earlier try changes nothing", ({ expect }) => {
    const moved = feed(running, drained(1), chosen("b"));
    expect(step(moved, drained(1)).reason).toBe("ignored");
  });

  it("leaves the answer to another cell where this one has no other shard", ({ expect }) => {
    const alone = feed(running, drained(1));
    const none: TurnEvent = { kind: "noShard", reason: "unhealthy", rejected: [] };
    const again = step(alone, none);
    expect(kindsOf(again.effects)).toEqual(["chooseShard"]);
    expect(step(again.state, none).effects).toMatchObject([
      { kind: "fail", mayMove: true, error: { code: "interrupted" } },
    ]);
  });
});

describe("a turn that its cell hands over", () => {
  const error = { code: "draining", message: "ends" } as const;

  it("stops its shard and may go on elsewhere", ({ expect }) => {
    const { effects, state } = step(running, { kind: "handOver", error });
    expect(kindsOf(effects)).toEqual(["abortShard", "releaseShard", "fail"]);
    expect(effects.at(-1)).toMatchObject({ status: "failed", mayMove: true, error });
    expect(step(state, { kind: "handOver", error }).reason).toBe("ignored");
  });

  it("is taken out of the queue where it waits", ({ expect }) => {
    const waiting = feed(initialTurnState(), { kind: "start" });
    const { effects } = step(waiting, { kind: "handOver", error });
    expect(kindsOf(effects)).toEqual(["stopChoosing", "fail"]);
  });
});
