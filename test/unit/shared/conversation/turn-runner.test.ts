import fc from "fast-check";
import { describe, it } from "vitest";
import { textOf } from "#shared/conversation/answer-so-far.ts";
import type { TurnEvent } from "#shared/conversation/turn-events.ts";
import type { ShardFailure } from "#shared/conversation/turn-failure.ts";
import { defaultTurnPolicy } from "#shared/conversation/turn-policy.ts";
import { stepTurn } from "#shared/conversation/turn-runner.ts";
import { usageOf } from "#shared/conversation/turn-state.ts";
import type { TurnState } from "#shared/conversation/turn-state.ts";
import {
  deadlineMs,
  aRequest,
  Run,
  chosen,
  engine,
  says,
  stops,
  failed,
  start,
  tick,
  done,
} from "#test/support/turn-run.ts";

describe("the turn runner", () => {
  it("chooses, dispatches, delivers, releases and finishes, in this order", ({ expect }) => {
    const run = new Run().feed(start, chosen("a"), says("Hi"), stops(), done);
    expect(run.kinds()).toEqual([
      "chooseShard",
      "dispatch",
      "deliver",
      "deliver",
      "releaseShard",
      "finish",
    ]);
    expect(run.reason).toBe("completed");
  });

  it("takes an engine's empty opening for no token", ({ expect }) => {
    const run = new Run().feed(start, chosen("a"), engine({ kind: "delta", choice: 0, text: "" }));
    expect(run.state).toMatchObject({ isBegun: false, firstTokenAtMs: null });
    expect(run.feed(says("x")).reason).toBe("firstToken");
  });

  it("goes to another shard before the first token and excludes all that were tried", ({
    expect,
  }) => {
    const run = new Run().feed(start, chosen("a"), failed({ reason: "cut" }), chosen("b"));
    run.feed(failed({ reason: "serverError", status: 500 }, 2));
    const choices = run.effects.filter((effect) => effect.kind === "chooseShard");
    expect(choices.map(({ excluded }) => excluded)).toEqual([[], ["a"], ["a", "b"]]);
    expect(run.state.rejected).toEqual([
      { id: "a", reason: "cut" },
      { id: "b", reason: "serverError" },
    ]);
  });

  it("gives up after the third shard", ({ expect }) => {
    const run = new Run().feed(start);
    for (const [index, name] of ["a", "b", "c"].entries()) {
      run.feed(chosen(name), failed({ reason: "cut" }, index + 1));
    }
    expect(run.reason).toBe("triesExhausted");
    expect(run.failure?.code).toBe("upstream_invalid");
  });

  it("begins anew where nothing was shown and the engine cannot go on", ({ expect }) => {
    const whole = new Run(false).feed(start, chosen("a"), says("Hi"), failed({ reason: "cut" }));
    expect(whole.feed(chosen("b")).kinds().slice(-3)).toEqual([
      "chooseShard",
      "restartAnswer",
      "dispatch",
    ]);
    expect(whole.state).toMatchObject({ choices: [], deltas: 0, usage: null, isBegun: false });
    expect(whole.feed(says("Hi", 2), stops(2), engine({ kind: "done" }, 2)).reason).toBe(
      "completed",
    );
  });

  it("returns the client's fault at once, also while other shards are left", ({ expect }) => {
    const fault = { code: "invalid_request", param: "n" } as const;
    const run = new Run().feed(
      start,
      chosen("a"),
      failed({ reason: "clientFault", status: 400, fault }),
    );
    expect(run.reason).toBe("clientFault");
    expect(run.failure).toMatchObject(fault);
  });

  const ends: readonly (readonly [ShardFailure, string])[] = [
    [{ reason: "unreachable" }, "no_capacity_in_jurisdiction"],
    [{ reason: "saturated", status: 429 }, "saturated"],
    [{ reason: "firstTokenTimeout" }, "upstream_invalid"],
    [{ reason: "invalid", detail: "json" }, "upstream_invalid"],
    [{ reason: "unexpectedStatus", status: 404 }, "upstream_invalid"],
  ];
  for (const [failure, code] of ends) {
    it(`says ${code} when the only shard failed with ${failure.reason}`, ({ expect }) => {
      const run = new Run().feed(start, chosen("a"), failed(failure));
      run.feed({ kind: "noShard", reason: "noShard", rejected: [] });
      expect(run.failure?.code).toBe(code);
      expect(run.effects.at(-1)).toMatchObject({ mayMove: true });
    });
  }

  const refusals = [
    ["noShard", "no_capacity_in_jurisdiction"],
    ["unhealthy", "no_capacity_in_jurisdiction"],
    ["queueFull", "saturated"],
    ["queueTimeout", "saturated"],
    ["draining", "draining"],
  ] as const;
  for (const [reason, code] of refusals) {
    it(`says ${code}, with a wait, when no shard was tried: ${reason}`, ({ expect }) => {
      const run = new Run().feed(start, { kind: "noShard", reason, rejected: [] });
      expect(run.failure?.code).toBe(code);
      expect(run.failure?.retryAfterMs).toBeGreaterThan(0);
    });
  }

  it("never takes [DONE] without finish reasons, or an empty answer, for success", ({ expect }) => {
    const open = new Run().feed(start, chosen("a"), says("Hi"), done);
    expect(open.state.lastFailure).toEqual({ reason: "invalid", detail: "noFinishReason" });
    const empty = new Run().feed(start, chosen("a"), done);
    expect(empty.state.lastFailure).toEqual({ reason: "invalid", detail: "empty" });
    const onlyReason = new Run().feed(start, chosen("a"), stops(), done);
    expect(onlyReason.reason).toBe("completed");
  });

  it("waits for a first token as long as the policy says, to the millisecond", ({ expect }) => {
    const run = new Run().feed(start, chosen("a"));
    const { dispatchedAtMs } = run.state.try;
    run.at(dispatchedAtMs + defaultTurnPolicy.firstTokenTimeoutMs - 1).feed(tick);
    expect(run.reason).toBe("ignored");
    run.at(dispatchedAtMs + defaultTurnPolicy.firstTokenTimeoutMs).feed(tick);
    expect(run.state.lastFailure).toEqual({ reason: "firstTokenTimeout" });
  });

  it("takes silence for a stall after 5 s, or after 20 times the usual time between tokens", ({
    expect,
  }) => {
    const fast = new Run().feed(start, chosen("a"), says("1"), says("2"));
    fast.at(fast.state.try.lastAtMs + 4_999).feed(tick);
    expect(fast.reason).toBe("ignored");
    fast.at(fast.state.try.lastAtMs + 5_000).feed(tick);
    expect(fast.state.lastFailure).toEqual({ reason: "stalled" });
    const slow = new Run()
      .feed(start, chosen("a"))
      .at(1_000)
      .feed(says("1"))
      .at(2_000)
      .feed(says("2"));
    slow.at(2_000 + 19_999).feed(tick);
    expect(slow.reason).toBe("ignored");
    slow.at(2_000 + 20_000).feed(tick);
    expect(slow.state.lastFailure).toEqual({ reason: "stalled" });
  });

  it("does not blame a shard for a client that does not read", ({ expect }) => {
    const run = new Run().feed(start, chosen("a"), says("1"));
    run.at(50_000).feed({ kind: "tick", isPaused: true }).at(54_000).feed(tick);
    expect(run.reason).toBe("ignored");
  });

  it("ends at the deadline wherever it stands, and aborts the shard", ({ expect }) => {
    const waiting = new Run().feed(start).at(deadlineMs).feed(tick);
    expect(waiting.kinds()).toEqual(["chooseShard", "stopChoosing", "fail"]);
    const running = new Run().feed(start, chosen("a"), says("x")).at(deadlineMs).feed(tick);
    expect(running.failure?.code).toBe("deadline_exceeded");
    expect(running.kinds()).toContain("abortShard");
    const early = new Run()
      .feed(start)
      .at(deadlineMs - 1)
      .feed(tick);
    expect(early.reason).toBe("ignored");
  });

  it("ignores what an earlier shard still says", ({ expect }) => {
    const run = new Run().feed(start, chosen("a"), failed({ reason: "cut" }), chosen("b"));
    const before = run.effects.length;
    run.feed(says("late"), done, failed({ reason: "cut" }));
    expect(run.reason).toBe("ignored");
    expect(run.effects).toHaveLength(before);
    expect(run.state.choices).toEqual([]);
  });

  it("takes a shard that never ends for broken", ({ expect }) => {
    const policy = { ...defaultTurnPolicy, answerCharactersMax: 10 };
    const { state } = new Run().feed(start, chosen("a"));
    const fits = stepTurn(state, says("x".repeat(10)), aRequest(), 9, policy);
    expect(fits.reason).toBe("firstToken");
    const tooMuch = stepTurn(fits.state, says("x"), aRequest(), 9, policy);
    expect(tooMuch.state.lastFailure).toEqual({ reason: "invalid", detail: "tooLong" });
  });

  it("takes a shard that gives more tokens than the client allows for one that never ends", ({
    expect,
  }) => {
    const run = new Run();
    Object.assign(run.request.engine, { completionTokensMax: 10 });
    run.feed(start, chosen("a"));
    for (let piece = 0; piece < 84; piece += 1) run.feed(says("x"));
    expect(run.reason).toBe("delivered");
    expect(run.feed(says("x")).state.lastFailure).toEqual({ reason: "invalid", detail: "tooLong" });
  });

  it("takes a shard that gives more tokens than it counts for one that repeats itself", ({
    expect,
  }) => {
    const usage = { promptTokens: 1, completionTokens: 2, cachedTokens: 0, reasoningTokens: 0 };
    const token = (id: number) => engine({ kind: "delta", choice: 0, text: "x", tokenIds: [id] });
    const ends = [stops(), engine({ kind: "usage", usage }), done];
    const honest = new Run().feed(start, chosen("a"), token(1), token(2), ...ends);
    expect(honest.reason).toBe("completed");
    const repeats = new Run().feed(start, chosen("a"), token(1), token(1), token(2), ...ends);
    expect(repeats.state.lastFailure).toEqual({ reason: "invalid", detail: "shape" });
  });

  it("keeps text and token ids of each choice, and leaves earlier states as they were", ({
    expect,
  }) => {
    const run = new Run().feed(start, chosen("a"));
    run.feed(engine({ kind: "delta", choice: 1, text: "a", tokenIds: [1, 2] }));
    const before = run.state;
    run.feed(engine({ kind: "delta", choice: 1, text: "b", tokenIds: [3] }));
    const other = stepTurn(
      before,
      engine({ kind: "delta", choice: 1, text: "c", tokenIds: [9] }),
      run.request,
      9,
      defaultTurnPolicy,
    ).state;
    const ids = (state: TurnState) =>
      state.choices[1]?.tokenIds.slice(0, state.choices[1].tokenCount);
    expect(run.state.choices.map(textOf)[1]).toBe("ab");
    expect([ids(before), ids(run.state), ids(other)]).toEqual([
      [1, 2],
      [1, 2, 3],
      [1, 2, 9],
    ]);
  });

  it("bills the engine's count, an estimate where it gives none, and nothing for nothing", ({
    expect,
  }) => {
    const run = new Run().feed(start, chosen("a"));
    expect(usageOf(run.state, run.request).promptTokens).toBe(0);
    run.feed(says("a"), says("b"));
    expect(usageOf(run.state, run.request)).toMatchObject({ promptTokens: 9, completionTokens: 2 });
    const usage = { promptTokens: 4, completionTokens: 5, cachedTokens: 1, reasoningTokens: 0 };
    run.feed(engine({ kind: "usage", usage }));
    expect(usageOf(run.state, run.request)).toEqual(usage);
  });
});

const failures: readonly ShardFailure[] = [
  { reason: "unreachable" },
  { reason: "cut" },
  { reason: "saturated", status: 429 },
  { reason: "clientFault", status: 400, fault: { code: "invalid_request" } },
  { reason: "invalid", detail: "json" },
];

const anyEvent: fc.Arbitrary<TurnEvent> = fc.oneof(
  fc.constant(start),
  fc.constantFrom("a", "b", "c", "d").map((name) => chosen(name)),
  fc.constantFrom("noShard", "unhealthy", "queueFull", "draining").map((reason): TurnEvent => ({
    kind: "noShard",
    reason: reason as "noShard",
    rejected: [],
  })),
  fc
    .tuple(fc.constantFrom("", "x", "yz"), fc.integer({ min: 1, max: 4 }))
    .map(([text, n]) => says(text, n)),
  fc.integer({ min: 1, max: 4 }).map((n) => stops(n)),
  fc.integer({ min: 1, max: 4 }).map((n) => engine({ kind: "done" }, n)),
  fc
    .tuple(fc.constantFrom(...failures), fc.integer({ min: 1, max: 4 }))
    .map(([failure, n]) => failed(failure, n)),
  fc.constant(tick),
  fc.constant<TurnEvent>({ kind: "abort", error: null }),
);

describe("the turn runner, whatever happens", () => {
  it("ends at most once, releases each dispatch exactly once and before its end, and never says success after a failure", () => {
    fc.assert(
      fc.property(fc.array(anyEvent, { maxLength: 40 }), fc.boolean(), (events, stream) => {
        const run = new Run(stream).feed(...events);
        // Whatever is still open ends at the deadline.
        run.at(deadlineMs).feed(tick);
        const kinds = run.kinds();
        const ends = kinds.filter((kind) => kind === "finish" || kind === "fail");
        const dispatched = run.effects.filter((effect) => effect.kind === "dispatch");
        const released = run.effects.filter((effect) => effect.kind === "releaseShard");
        if (ends.length !== 1 || kinds.at(-1) !== ends[0]) return false;
        if (
          released.map((effect) => effect.try).join() !==
          dispatched.map((effect) => effect.try).join()
        )
          return false;
        const { triesMax, continuationsMax } = defaultTurnPolicy;
        if (dispatched.length > triesMax * (continuationsMax + 1)) return false;
        const restarts = kinds.filter((kind) => kind === "restartAnswer").length;
        if (stream && restarts > 0) return false;
        return ends[0] === "fail" || released.at(-1)?.result.kind === "succeeded";
      }),
      { numRuns: 2_000 },
    );
  });

  it("is plain data at every step", () => {
    fc.assert(
      fc.property(fc.array(anyEvent, { maxLength: 20 }), (events) => {
        const { state } = new Run().feed(...events);
        // The agreement is the one part that a state shares with the one before.
        const { try: last, ...rest } = state;
        const plain = { ...rest, try: { ...last, agreement: null } };
        return JSON.stringify(JSON.parse(JSON.stringify(plain))) === JSON.stringify(plain);
      }),
    );
  });
});
