import { describe, expect, it } from "vitest";
import { beginRelay, relayTickDueMs, stepRelay } from "#shared/conversation/relay.ts";
import type {
  FrameRun,
  RelayEffect,
  RelayEvent,
  RelayPolicy,
  RelayState,
  RelayTurn,
} from "#shared/conversation/relay.ts";
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
    ttftMs: 1,
    totalMs: 2,
    ...over,
  };
}

const outcome: RelayEvent = { kind: "outcome", outcome: anOutcome() };
const ended: RelayEvent = { kind: "ended" };
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
    expect(relayTickDueMs(relay.state, policy)).toBeNull();
  });

  it("checkpoints at the byte limit, and has only one under way", () => {
    const relay = new Harness().feed(frames(1, "x".repeat(99)));
    expect(relay.of("checkpoint")).toEqual([]);
    relay.feed(frames(2, "y"), frames(3, "z".repeat(500)));
    expect(relay.of("checkpoint").map(({ segment }) => [segment.fromSeq, segment.toSeq])).toEqual([
      [1, 2],
    ]);
    relay.feed({ kind: "checkpointed", reply: "ok" });
    expect(relay.of("checkpoint").map(({ segment }) => [segment.fromSeq, segment.toSeq])).toEqual([
      [1, 2],
      [3, 3],
    ]);
  });

  it("keeps the frames of a failed checkpoint and sends them again an interval later", () => {
    const relay = new Harness().feed(frames(1, "x".repeat(100)));
    relay.feed({ kind: "checkpointed", reply: "failed" });
    expect(relay.of("checkpoint")).toHaveLength(1);
    relay.nowMs += 1000;
    relay.feed({ kind: "tick" });
    expect(relay.of("checkpoint").map(({ segment }) => segment.fromSeq)).toEqual([1, 1]);
  });

  it("completes only after the checkpoint that is under way, without what it acknowledged", () => {
    const relay = new Harness().feed(frames(1, "x".repeat(100)), frames(2), outcome, frames(3));
    relay.feed(ended);
    expect(relay.of("complete")).toEqual([]);
    relay.feed({ kind: "checkpointed", reply: "ok" });
    expect(relay.of("complete")[0]?.segment).toMatchObject({ fromSeq: 2, toSeq: 3 });
  });

  it.each(["superseded", "unknownTurn"] as const)(
    "stops when a checkpoint is answered %s, with an error that carries no id",
    (reply) => {
      const relay = new Harness().feed(frames(1, "x".repeat(100)));
      relay.feed({ kind: "checkpointed", reply });
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
    expect(relay.of("finish")[0]?.error?.code).toBe("interrupted");
  });

  it.each([
    ["an end without an outcome", ended],
    ["a lost connection", { kind: "cut", reason: "connectionLost" }],
    ["an invalid block", { kind: "cut", reason: "invalid" }],
  ] as const)("moves to another cell after %s before the first frame, once", (_name, event) => {
    const relay = new Harness().feed(event);
    expect(relay.of("failover")).toHaveLength(1);
    relay.feed({ kind: "failedOver", turn: { ...turn, attempt: 2 } }, event);
    expect(relay.of("failover")).toHaveLength(1);
    const [complete] = relay.of("complete");
    expect(complete?.outcome).toMatchObject({ status: "failed", attempt: 2, body: null });
    relay.feed({ kind: "completed", reply: "ok" });
    expect(relay.written).toBe("");
    expect(relay.of("finish")[0]?.error?.code).toBe("interrupted");
  });

  it("ends a begun stream that is cut with a journaled error event, and no terminal frame", () => {
    const relay = new Harness().feed(frames(1), { kind: "cut", reason: "connectionLost" });
    expect(relay.of("failover")).toEqual([]);
    expect(textOf(relay.of("complete")[0]?.segment?.parts ?? [])).toBe("<1><2:interrupted>");
    relay.feed({ kind: "completed", reply: "ok" });
    expect(relay.written).toBe("<1><2:interrupted>");
  });

  it("bills what the cell counted when the terminal frames were lost", () => {
    const relay = new Harness().feed(frames(1), outcome, ended);
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
    const relay = new Harness().feed(ended, { kind: "stopped", error: failure });
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
    expect(relay.of("complete")[0]?.outcome.status).toBe("failed");
  });
});

describe("relay, stateless lane", () => {
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
  ] as const)("ends with an error event after %s", (_name, events) => {
    const relay = new Harness("stateless").feed(...events);
    expect(relay.written).toBe("<1><2:interrupted>");
    expect(relay.of("finish")[0]?.error?.code).toBe("interrupted");
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
