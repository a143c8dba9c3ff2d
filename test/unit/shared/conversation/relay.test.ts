import { describe, expect, it } from "vitest";
import { stepRelay } from "#shared/conversation/relay.ts";
import { beginRelay, relayTickDueMs } from "#shared/conversation/relay-state.ts";
import type {
  FrameRun,
  RelayEffect,
  RelayEvent,
  RelayPolicy,
  RelayState,
  RelayTurn,
} from "#shared/conversation/relay-state.ts";
import type { ErrorOutcome } from "#shared/errors/gateway-error.ts";
import type { TurnOutcome } from "#shared/protocol/internal/turn-outcome.ts";
import type { CellId, RegionId, TurnId } from "#shared/residency/brands.ts";

const encoder = new TextEncoder();
const decoder = new TextDecoder();

const turn: RelayTurn = {
  turnId: "turn_x" as TurnId,
  attempt: 1,
  cell: "eu-west-1a" as CellId,
  region: "eu-west-1" as RegionId,
};

const policy: RelayPolicy = {
  checkpointIntervalMs: 1000,
  checkpointBytes: 100,
  failoversMax: 1,
  continuationsMax: 2,
  silenceMs: 10_000,
  heldBytesMax: 10_000,
  renderError: (error, fromSeq, isJournaled) => ({
    bytes: encoder.encode(`<${isJournaled ? fromSeq : "-"}:${error.code}>`),
    toSeq: fromSeq,
  }),
};

function run(fromSeq: number, text = `<${fromSeq}>`, toSeq = fromSeq): FrameRun {
  return { bytes: encoder.encode(text), fromSeq, toSeq };
}

function frames(fromSeq: number, text?: string): RelayEvent {
  return { kind: "frames", ...run(fromSeq, text) };
}

function anOutcome(over: Partial<TurnOutcome> = {}): TurnOutcome {
  return {
    v: 1,
    turnId: turn.turnId,
    attempt: 1,
    status: "completed",
    error: null,
    cell: turn.cell,
    region: turn.region,
    shard: null,
    rejected: [],
    usage: { promptTokens: 3, completionTokens: 5, cachedTokens: 0, reasoningTokens: 0 },
    finishReasons: ["stop"],
    items: [],
    body: "{}",
    queueWaitMs: 0,
    mayMove: false,
    continuations: 0,
    ttftMs: 1,
    totalMs: 2,
    ...over,
  };
}

const outcome: RelayEvent = { kind: "outcome", outcome: anOutcome() };
const ended: RelayEvent = { kind: "ended" };
const silentCut: RelayEvent = { kind: "cut", reason: "silent" };
const moved: RelayTurn = { ...turn, attempt: 2, cell: "eu-central-1a" as CellId };
const failure: ErrorOutcome = { code: "upstream_invalid", message: "No shard answered." };

/** Feeds a relay and keeps what it asked for. */
class Harness {
  state: RelayState;
  nowMs = 1_000_000;
  readonly effects: RelayEffect[] = [];

  constructor(lane: RelayState["lane"] = "durable", isStreamed = true) {
    this.state = beginRelay(lane, isStreamed, turn, this.nowMs);
  }

  feed(...events: readonly RelayEvent[]): this {
    for (const event of events) {
      const step = stepRelay(this.state, event, this.nowMs, policy);
      this.state = step.state;
      this.effects.push(...step.effects);
    }
    return this;
  }

  get written(): string {
    return this.effects
      .map((effect) => (effect.kind === "write" ? decoder.decode(effect.bytes) : ""))
      .join("");
  }

  of<K extends RelayEffect["kind"]>(kind: K): Extract<RelayEffect, { kind: K }>[] {
    return this.effects.filter(
      (effect): effect is Extract<RelayEffect, { kind: K }> => effect.kind === kind,
    );
  }
}

function textOf(parts: readonly Uint8Array[]): string {
  return parts.map((part) => decoder.decode(part)).join("");
}

describe("relay, durable lane", () => {
  it("writes frames at once and holds the terminal ones until the turn is durable", () => {
    const relay = new Harness().feed(frames(1), frames(2), outcome, frames(3, "[DONE]"), ended);
    expect(relay.written).toBe("<1><2>");
    expect(relay.of("finish")).toEqual([]);
    relay.feed({ kind: "completed", reply: "ok" });
    expect(relay.written).toBe("<1><2>[DONE]");
    expect(relay.of("finish")).toEqual([{ kind: "finish", outcome: anOutcome(), error: null }]);
  });

  it("hands every frame that was not checkpointed to completeTurn, terminal ones included", () => {
    const relay = new Harness().feed(frames(1), frames(2), outcome, frames(3, "[DONE]"), ended);
    const [complete] = relay.of("complete");
    expect(complete?.segment).toMatchObject({ fromSeq: 1, toSeq: 3 });
    expect(textOf(complete?.segment?.parts ?? [])).toBe("<1><2>[DONE]");
  });

  it("checkpoints after the interval, not before", () => {
    const relay = new Harness().feed(frames(1));
    expect(relayTickDueMs(relay.state, policy)).toBe(relay.nowMs + 1000);
    relay.nowMs += 999;
    relay.feed({ kind: "tick" });
    expect(relay.of("checkpoint")).toEqual([]);
    relay.nowMs += 1;
    relay.feed({ kind: "tick" });
    expect(relay.of("checkpoint")).toHaveLength(1);
    // What is due now is only that the cell must be heard of again.
    expect(relayTickDueMs(relay.state, policy)).toBe(1_000_000 + policy.silenceMs);
  });

  it("checkpoints at the byte limit, and has only one under way", () => {
    const relay = new Harness().feed(frames(1, "x".repeat(99)));
    expect(relay.of("checkpoint")).toEqual([]);
    relay.feed(frames(2, "y"), frames(3, "z".repeat(500)));
    expect(relay.of("checkpoint").map(({ segment }) => [segment.fromSeq, segment.toSeq])).toEqual([
      [1, 2],
    ]);
    relay.feed({ kind: "checkpointed", attempt: 1, reply: "ok" });
    expect(relay.of("checkpoint").map(({ segment }) => [segment.fromSeq, segment.toSeq])).toEqual([
      [1, 2],
      [3, 3],
    ]);
  });

  it("keeps the frames of a failed checkpoint and sends them again an interval later", () => {
    const relay = new Harness().feed(frames(1, "x".repeat(100)));
    relay.feed({ kind: "checkpointed", attempt: 1, reply: "failed" });
    expect(relay.of("checkpoint")).toHaveLength(1);
    relay.nowMs += 1000;
    relay.feed({ kind: "tick" });
    expect(relay.of("checkpoint").map(({ segment }) => segment.fromSeq)).toEqual([1, 1]);
  });

  it("completes only after the checkpoint that is under way, without what it acknowledged", () => {
    const relay = new Harness().feed(frames(1, "x".repeat(100)), frames(2), outcome, frames(3));
    relay.feed(ended);
    expect(relay.of("complete")).toEqual([]);
    relay.feed({ kind: "checkpointed", attempt: 1, reply: "ok" });
    expect(relay.of("complete")[0]?.segment).toMatchObject({ fromSeq: 2, toSeq: 3 });
  });

  it.each(["superseded", "unknownTurn"] as const)(
    "stops when a checkpoint is answered %s, with an error that carries no id",
    (reply) => {
      const relay = new Harness().feed(frames(1, "x".repeat(100)));
      relay.feed({ kind: "checkpointed", attempt: 1, reply });
      expect(relay.written.endsWith("<-:interrupted>")).toBe(true);
      expect(relay.of("disconnect")).toHaveLength(1);
      expect(relay.of("complete")).toEqual([]);
      expect(relay.feed(frames(2)).written.endsWith("<-:interrupted>")).toBe(true);
    },
  );

  it("never releases terminal frames when completeTurn cannot be made durable", () => {
    const relay = new Harness().feed(frames(1), outcome, frames(2, "[DONE]"), ended);
    relay.feed({ kind: "completed", reply: "failed" });
    expect(relay.written).toBe("<1><-:interrupted>");
    // What is paid for the turn is the object's to say.
    expect(relay.of("finish")[0]).toMatchObject({ outcome: null, error: { code: "interrupted" } });
  });

  it.each([
    ["an unreachable cell", { kind: "cut", reason: "unreachable" }],
    ["an invalid block", { kind: "cut", reason: "invalid" }],
  ] as const)("moves to another cell after %s before the first frame, once", (_name, event) => {
    const relay = new Harness().feed(event);
    expect(relay.of("failover")).toHaveLength(1);
    relay.feed({ kind: "failedOver", turn: moved, givenSeq: 0 }, event);
    expect(relay.of("failover")).toHaveLength(1);
    const [complete] = relay.of("complete");
    expect(complete?.outcome).toMatchObject({ status: "failed", attempt: 2, body: null });
    relay.feed({ kind: "completed", reply: "ok" });
    expect(relay.written).toBe("");
    expect(relay.of("finish")[0]?.error?.code).toBe("interrupted");
  });

  it.each([
    ["an end without an outcome", [ended]],
    ["an end without terminal frames", [outcome, ended]],
    ["a lost connection", [{ kind: "cut", reason: "connectionLost" }]],
  ] as const)(
    "asks the same cell for the rest after %s, and another one when it has none",
    (_name, events) => {
      const relay = new Harness().feed(frames(1), ...events);
      expect(relay.of("reattach")).toEqual([{ kind: "reattach", afterSeq: 1 }]);
      relay.feed({ kind: "failedOver", turn, givenSeq: 1 }, { kind: "cut", reason: "unreachable" });
      expect(relay.of("failover")).toMatchObject([
        { segment: { fromSeq: 1, toSeq: 1 }, given: null, continuations: 0 },
      ]);
      relay.feed({ kind: "failedOver", turn: moved, givenSeq: 1 }, frames(2), outcome);
      relay.feed(frames(3, "[DONE]"), ended, { kind: "completed", reply: "ok" });
      expect(relay.written).toBe("<1><2>[DONE]");
    },
  );

  it("asks the same cell again only when frames came in between", () => {
    const cut: RelayEvent = { kind: "cut", reason: "connectionLost" };
    const again: RelayEvent = { kind: "failedOver", turn, givenSeq: 1 };
    const relay = new Harness().feed(frames(1), cut, again, frames(2), cut, again, cut);
    expect(relay.of("reattach").map(({ afterSeq }) => afterSeq)).toEqual([1, 2]);
    expect(relay.of("failover")).toHaveLength(1);
  });

  it("hands the frames that the object has not got to the failover, and not to the next checkpoint", () => {
    const relay = new Harness().feed(frames(1, "x".repeat(100)), frames(2));
    relay.feed({ kind: "checkpointed", attempt: 1, reply: "ok" }, silentCut);
    expect(relay.of("failover")[0]?.segment).toMatchObject({ fromSeq: 2, toSeq: 2 });
    relay.feed({ kind: "failedOver", turn: moved, givenSeq: 2 }, frames(3, "y".repeat(100)));
    expect(relay.of("checkpoint").at(-1)?.segment).toMatchObject({ fromSeq: 3, toSeq: 3 });
  });

  it("does not take the answer to an older attempt's checkpoint for one to its own", () => {
    const relay = new Harness().feed(frames(1, "x".repeat(100)), silentCut);
    relay.feed({ kind: "checkpointed", attempt: 1, reply: "superseded" });
    relay.feed({ kind: "failedOver", turn: moved, givenSeq: 1 });
    relay.feed({ kind: "checkpointed", attempt: 1, reply: "superseded" }, frames(2));
    expect(relay.written.endsWith("<2>")).toBe(true);
    expect(relay.of("finish")).toEqual([]);
  });

  it("ends with an error rather than with a gap when the other cell begins elsewhere", () => {
    const relay = new Harness().feed(frames(1), frames(2), silentCut);
    relay.feed({ kind: "failedOver", turn: moved, givenSeq: 1 });
    relay.feed({ kind: "completed", reply: "ok" });
    expect(relay.written).toBe("<1><2><3:interrupted>");
  });

  it("counts the seams inside the cell, and moves no further when there were too many", () => {
    const relay = new Harness().feed(frames(1), { kind: "seam" }, { kind: "seam" }, silentCut);
    expect(relay.of("failover")).toEqual([]);
    relay.feed({ kind: "completed", reply: "ok" });
    expect(relay.written).toBe("<1><2:interrupted>");
  });

  it("tells the failover how many tokens the cell had counted beyond the pieces", () => {
    const surplus: RelayEvent = { kind: "surplus", tokens: 4 };
    const relay = new Harness().feed(frames(1), surplus, silentCut);
    expect(relay.of("failover")).toMatchObject([{ surplusTokens: 4 }]);
    expect(relay.written).toBe("<1>");
  });

  it("gives up a cell that is silent, and no earlier than it must", () => {
    const relay = new Harness().feed(frames(1));
    relay.feed({ kind: "checkpointed", attempt: 1, reply: "ok" });
    relay.nowMs += 9_999;
    relay.feed({ kind: "tick" });
    expect(relay.of("failover")).toEqual([]);
    relay.feed({ kind: "comment", bytes: encoder.encode(":\n\n") });
    relay.nowMs += 9_999;
    relay.feed({ kind: "tick" });
    expect(relay.of("failover")).toEqual([]);
    relay.nowMs += 1;
    relay.feed({ kind: "tick" });
    expect(relay.of("failover")).toMatchObject([{ reason: "silent" }]);
  });

  it("moves a begun answer that its cell has no shard to go on with, without showing the cell's error", () => {
    const failed = anOutcome({ status: "failed", error: failure, mayMove: true, body: null });
    const relay = new Harness().feed(frames(1), { kind: "outcome", outcome: failed });
    relay.feed(frames(2, "<error>"), ended);
    expect(relay.of("failover")).toHaveLength(1);
    expect(relay.written).toBe("<1>");
  });

  it("stops a stream whose frames cannot be journaled, with an error that can be resumed after", () => {
    const relay = new Harness().feed(frames(1, "x".repeat(9_999)), frames(2, "yy"));
    expect(relay.written.endsWith("<-:interrupted>")).toBe(true);
    expect(relay.of("disconnect")).toHaveLength(1);
    expect(relay.of("complete")).toEqual([]);
  });

  it("ends a begun stream that no other cell takes with a journaled error event, and no terminal frame", () => {
    const relay = new Harness().feed(frames(1), silentCut, { kind: "stopped", error: failure });
    expect(textOf(relay.of("complete")[0]?.segment?.parts ?? [])).toBe("<1><2:upstream_invalid>");
    relay.feed({ kind: "completed", reply: "ok" });
    expect(relay.written).toBe("<1><2:upstream_invalid>");
  });

  it("bills what a lost cell had counted when none goes on", () => {
    const relay = new Harness().feed(frames(1), outcome, silentCut);
    relay.feed({ kind: "stopped", error: failure });
    expect(relay.of("complete")[0]?.outcome).toMatchObject({
      status: "failed",
      usage: { promptTokens: 3, completionTokens: 5 },
    });
  });

  it("moves on a refusal of a full cell, and not on one that is the client's fault", () => {
    expect(
      new Harness().feed({ kind: "refused", error: failure, mayMove: true }).of("failover"),
    ).toHaveLength(1);
    const relay = new Harness().feed({ kind: "refused", error: failure, mayMove: false });
    expect(relay.of("failover")).toEqual([]);
    expect(relay.of("complete")[0]?.outcome.error).toEqual(failure);
    relay.feed({ kind: "completed", reply: "ok" });
    expect(relay.of("finish")[0]?.error).toEqual(failure);
  });

  it("ends with the object's reason when no other cell is leased", () => {
    const relay = new Harness().feed(silentCut, { kind: "stopped", error: failure });
    expect(relay.of("complete")[0]?.outcome.error).toEqual(failure);
  });

  it("goes on without its client, and writes nothing to it", () => {
    const relay = new Harness().feed(frames(1), { kind: "clientGone" }, frames(2), outcome);
    relay.feed(frames(3, "[DONE]"), ended, { kind: "completed", reply: "ok" });
    expect(relay.written).toBe("<1>");
    expect(relay.of("complete")[0]?.segment).toMatchObject({ fromSeq: 1, toSeq: 3 });
  });

  it("answers a turn that is not streamed only once it is durable", () => {
    const relay = new Harness("durable", false).feed(
      { kind: "comment", bytes: encoder.encode(": x\n\n") },
      outcome,
      ended,
    );
    expect(relay.of("finish")).toEqual([]);
    relay.feed({ kind: "completed", reply: "ok" });
    expect(relay.written).toBe("");
    expect(relay.of("finish")[0]?.outcome?.body).toBe("{}");
  });

  it("refuses an outcome without a body where the answer is not streamed", () => {
    const relay = new Harness("durable", false);
    relay.feed({ kind: "outcome", outcome: anOutcome({ body: null }) }, ended);
    expect(relay.of("complete")[0]?.outcome.error?.code).toBe("upstream_invalid");
  });

  it("does not let a second outcome replace the first", () => {
    const relay = new Harness().feed(frames(1), outcome, outcome);
    expect(relay.of("failover")).toMatchObject([{ reason: "invalid" }]);
  });
});

describe("relay, stateless lane", () => {
  it.each([
    ["breaks off", { kind: "cut", reason: "connectionLost" }],
    ["falls silent", { kind: "tick" }],
  ] as const)("is over with its last frame, although the cell then %s", (_name, event) => {
    const relay = new Harness("stateless").feed(frames(1), outcome, frames(2, "[DONE]"));
    relay.nowMs += policy.silenceMs;
    relay.feed(event);
    expect(relay.written).toBe("<1>[DONE]");
    expect(relay.of("failover")).toEqual([]);
    expect(relay.of("finish")).toMatchObject([{ error: null, outcome: { status: "completed" } }]);
  });

  it("writes everything at once and asks no object", () => {
    const relay = new Harness("stateless").feed(frames(1, "x".repeat(500)), outcome);
    relay.feed(frames(2, "[DONE]"), ended);
    expect(relay.written.endsWith("[DONE]")).toBe(true);
    expect(relay.effects.map(({ kind }) => kind)).toEqual(["write", "write", "finish"]);
    expect(relay.of("finish")[0]?.error).toBeNull();
  });

  it("stops at once when its client is gone", () => {
    const relay = new Harness("stateless").feed(frames(1), { kind: "clientGone" }, frames(2));
    expect(relay.effects.map(({ kind }) => kind)).toEqual(["write", "disconnect", "finish"]);
    expect(relay.of("finish")[0]?.error?.code).toBe("client_closed");
  });

  it("passes comments on between frames", () => {
    const relay = new Harness("stateless").feed(frames(1), {
      kind: "comment",
      bytes: encoder.encode(":\n\n"),
    });
    expect(relay.written).toBe("<1>:\n\n");
  });

  it.each([
    ["no outcome", [frames(1), ended]],
    ["an outcome but no terminal frame", [frames(1), outcome, ended]],
    ["a cut", [frames(1), { kind: "cut", reason: "connectionLost" }]],
  ] as const)("has another cell go on from all that was written after %s", (_name, events) => {
    const relay = new Harness("stateless").feed(...events);
    const [failover] = relay.of("failover");
    expect(textOf(failover?.given?.parts ?? [])).toBe("<1>");
    expect(failover).toMatchObject({ segment: null, given: { fromSeq: 1, toSeq: 1 } });
    relay.feed({ kind: "failedOver", turn: moved, givenSeq: 1 }, frames(2), outcome);
    relay.feed(frames(3, "[DONE]"), ended);
    expect(relay.written).toBe("<1><2>[DONE]");
    expect(relay.of("finish")[0]?.error).toBeNull();
  });

  it("ends with an error event when more was written than is kept", () => {
    const relay = new Harness("stateless").feed(frames(1, "x".repeat(10_001)), silentCut);
    expect(relay.of("failover")).toEqual([]);
    expect(relay.written.endsWith("<2:interrupted>")).toBe(true);
    expect(relay.of("finish")[0]?.error?.code).toBe("interrupted");
  });

  it("shows the cell's own error when no other cell can go on", () => {
    const failed = anOutcome({ status: "failed", error: failure, mayMove: true });
    const relay = new Harness("stateless").feed(frames(1), { kind: "seam" }, { kind: "seam" });
    relay.feed({ kind: "outcome", outcome: failed }, frames(2, "<error>"), ended);
    expect(relay.written).toBe("<1><error>");
    expect(relay.of("finish")[0]?.error).toEqual(failure);
  });

  it("reports a failed outcome whose error event the cell has sent", () => {
    const relay = new Harness("stateless").feed(
      frames(1),
      frames(2, "<error>"),
      { kind: "outcome", outcome: anOutcome({ status: "failed", error: failure }) },
      ended,
    );
    expect(relay.written).toBe("<1><error>");
    expect(relay.of("finish")[0]?.error).toEqual(failure);
  });
});
