import { describe, it } from "vitest";
import type { TurnEvent } from "#shared/conversation/turn-events.ts";
import type { ShardFailure } from "#shared/conversation/turn-failure.ts";
import { resumedTurnState, usageOf } from "#shared/conversation/turn-state.ts";
import { Run, chosen, engine, says, stops, failed, start, done } from "#test/support/turn-run.ts";

describe("an answer that has begun", () => {
  const cut: ShardFailure = { reason: "cut" };
  const begun = () => new Run().feed(start, chosen("a"), says("Good "), failed(cut));

  it("goes on from what was said at a shard that can", ({ expect }) => {
    const run = begun().feed(chosen("b", "text"), says("day", 2), stops(2));
    const dispatched = run.effects.filter((effect) => effect.kind === "dispatch")[1];
    expect(dispatched?.body).toMatchObject({
      continue_final_message: true,
      messages: [{ role: "assistant", content: "Good " }],
    });
    const usage = { promptTokens: 10, completionTokens: 1, cachedTokens: 0, reasoningTokens: 0 };
    run.feed(engine({ kind: "usage", usage }, 2), engine({ kind: "done" }, 2));
    expect(run.reason).toBe("completed");
    expect(usageOf(run.state, run.request)).toMatchObject({ promptTokens: 9, completionTokens: 2 });
    expect(run.kinds().filter((kind) => kind !== "noted")).toEqual([
      "chooseShard",
      "dispatch",
      "deliver",
      "abortShard",
      "releaseShard",
      "chooseShard",
      "dispatch",
      "seam",
      "deliver",
      "deliver",
      "releaseShard",
      "finish",
    ]);
  });

  it("is generated again where it cannot go on, and only the rest of it is delivered", ({
    expect,
  }) => {
    const run = begun().feed(chosen("b"), says("Go", 2), says("od da", 2), says("y", 2), stops(2));
    run.feed(engine({ kind: "done" }, 2));
    const texts = run.effects.flatMap((effect) =>
      effect.kind === "deliver" ? [effect.delta.text ?? ""] : [],
    );
    expect(texts).toEqual(["Good ", "da", "y", ""]);
    expect(run.reason).toBe("completed");
  });

  it("ends with an explicit error when it comes out as another one", ({ expect }) => {
    const run = begun().feed(chosen("b"), says("Goof", 2));
    expect(run.reason).toBe("diverged");
    expect(run.failure).toMatchObject({ code: "interrupted" });
    expect(run.kinds().filter((kind) => kind === "deliver")).toHaveLength(1);
    expect(run.effects.at(-1)).toMatchObject({ mayMove: false });
  });

  it("ends with an explicit error when it comes out shorter", ({ expect }) => {
    expect(begun().feed(chosen("b"), says("Go", 2), stops(2)).reason).toBe("diverged");
  });

  it("is generated again when an engine refuses the prefix", ({ expect }) => {
    const fault = { code: "invalid_request" } as const;
    const run = begun().feed(
      chosen("b", "text"),
      failed({ reason: "clientFault", status: 400, fault }, 2),
      chosen("c", "text"),
      says("Good day", 3),
    );
    expect(run.effects.at(-1)).toEqual({
      kind: "deliver",
      delta: { kind: "delta", choice: 0, text: "day" },
    });
  });

  it("goes on twice at most, and says so at the third failure", ({ expect }) => {
    const run = begun().feed(chosen("b", "text"), says("day", 2), failed(cut, 2));
    run.feed(chosen("c", "text"), says("!", 3), failed(cut, 3));
    expect(run.reason).toBe("interrupted");
    expect(run.effects.at(-1)).toMatchObject({ kind: "fail", mayMove: false });
  });

  it("counts the continuations of earlier cells", ({ expect }) => {
    const run = new Run();
    Object.assign(run.request, { resume: { continuations: 2 } });
    run.state = resumedTurnState([{ kind: "delta", choice: 0, text: "Good " }], null, {
      continuations: 2,
      surplusTokens: 0,
    });
    run.feed(start, chosen("a", "text"), says("day"), failed(cut));
    expect(run.reason).toBe("interrupted");
    expect(run.kinds()).not.toContain("seam");
  });

  it("counts the tokens that its cell had counted beyond one for each piece", ({ expect }) => {
    const run = new Run();
    Object.assign(run.request.engine.body, { max_tokens: 10 });
    const deltas = [{ kind: "delta", choice: 0, text: "Good " }] as const;
    run.state = resumedTurnState(deltas, null, { continuations: 1, surplusTokens: 3 });
    run.feed(start, chosen("a", "text"));
    expect(run.effects.at(-1)).toMatchObject({ kind: "dispatch", body: { max_tokens: 6 } });
    const usage = { promptTokens: 20, completionTokens: 2, cachedTokens: 0, reasoningTokens: 0 };
    run.feed(says("day"), stops(), engine({ kind: "usage", usage }), done);
    expect(usageOf(run.state, run.request)).toMatchObject({
      promptTokens: 16,
      completionTokens: 6,
    });
  });

  it("may be tried at the shards that failed when there are no others, once", ({ expect }) => {
    const none: TurnEvent = { kind: "noShard", reason: "noShard", rejected: [] };
    const run = begun().feed(none);
    expect(run.effects.at(-1)).toEqual({ kind: "chooseShard", excluded: [] });
    run.feed(none);
    expect(run.failure?.code).toBe("interrupted");
    expect(run.effects.at(-1)).toMatchObject({ mayMove: true });
  });

  it("needs no shard when only its end was lost", ({ expect }) => {
    const whole = new Run();
    const usage = { promptTokens: 1, completionTokens: 1, cachedTokens: 0, reasoningTokens: 0 };
    const deltas = [
      { kind: "delta", choice: 0, text: "Hi" },
      { kind: "delta", choice: 0, finishReason: "stop" },
    ] as const;
    whole.state = resumedTurnState(deltas, usage, { continuations: 1, surplusTokens: 0 });
    expect(whole.feed(start).kinds()).toEqual(["finish"]);
    const long = begun();
    Object.assign(long.request.engine.body, { max_tokens: 1 });
    long.feed(chosen("b", "text"));
    expect(long.kinds().slice(-3)).toEqual(["releaseShard", "deliver", "finish"]);
    expect(long.effects.at(-2)).toMatchObject({ delta: { finishReason: "length" } });
  });
});
