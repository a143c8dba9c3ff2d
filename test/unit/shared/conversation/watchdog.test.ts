import { describe, expect, it } from "vitest";
import { beginTurn } from "#shared/conversation/begin-turn.ts";
import type { BeginTurnInput, CompleteTurnInput, TurnLease } from "#shared/conversation/rpc.ts";
import { checkpoint, completeTurn, failover } from "#shared/conversation/run-turn.ts";
import type { StoredTurn } from "#shared/conversation/store.ts";
import { afterDispatch, afterPull, dueWork, watchdogDueMs } from "#shared/conversation/watchdog.ts";
import type { Dispatch, DispatchReply, Pull, PullFinding } from "#shared/conversation/watchdog.ts";
import type { ErrorOutcome } from "#shared/errors/gateway-error.ts";
import {
  aContext,
  aScope,
  aTemplate,
  aTurn,
  anOutcome,
  cellA,
  cellB,
  turnIdOf,
} from "#test/support/conversation-builders.ts";
import { MemoryConversationStore } from "#test/support/memory-conversation-store.ts";

const first = "aaaaaaaaaaaa";
const second = "bbbbbbbbbbbb";
const both = [cellA, cellB];
const scope = aScope();

function begin(overrides: Partial<BeginTurnInput> = {}): MemoryConversationStore {
  const store = new MemoryConversationStore();
  beginTurn(aContext(store, 1_000), aTurn(first, overrides));
  return store;
}

function turnOf(store: MemoryConversationStore): StoredTurn {
  const turn = store.turns.get(first);
  if (turn === undefined) throw new Error("no turn");
  return turn;
}

function workAt(store: MemoryConversationStore, nowMs: number) {
  const work = dueWork(aContext(store, nowMs));
  if (work === null) throw new Error(`nothing is due at ${nowMs}`);
  return work;
}

function pullAt(store: MemoryConversationStore, nowMs: number): Pull {
  const work = workAt(store, nowMs);
  if (work.kind !== "pull") throw new Error(`due is ${work.kind}`);
  return work;
}

function dispatchAt(store: MemoryConversationStore, nowMs: number): Dispatch {
  const work = workAt(store, nowMs);
  if (work.kind !== "dispatch") throw new Error(`due is ${work.kind}`);
  return work;
}

/** Pulls what is due at `nowMs` and takes `finding` in. */
function pulled(
  store: MemoryConversationStore,
  nowMs: number,
  finding: PullFinding,
  cells = both,
): "waiting" | "ended" {
  return afterPull(aContext(store, nowMs), pullAt(store, nowMs), finding, cells);
}

function dispatched(
  store: MemoryConversationStore,
  nowMs: number,
  reply: DispatchReply,
  cells = both,
): "waiting" | "ended" {
  return afterDispatch(aContext(store, nowMs), dispatchAt(store, nowMs), reply, cells);
}

function frame(seq: number, data = "x"): string {
  return `id: ${seq}\ndata: ${data}\n\n`;
}

function frames(fromSeq: number, toSeq: number) {
  let text = "";
  for (let seq = fromSeq; seq <= toSeq; seq += 1) text += frame(seq);
  return { fromSeq, toSeq, text };
}

const nothing: PullFinding = {
  kind: "frames",
  segment: null,
  terminal: null,
  outcome: null,
  seams: 0,
};
const unknown: PullFinding = { kind: "unknown" };
const unreachable: PullFinding = { kind: "unreachable" };
const saturated: ErrorOutcome = { code: "saturated", message: "full" };

describe("the watchdog", () => {
  it("is due when nobody has reported the turn for ten seconds", () => {
    const store = begin();
    expect(watchdogDueMs(aContext(store))).toBe(11_000);
    expect(dueWork(aContext(store, 10_999))).toBeNull();
    expect(pullAt(store, 11_000)).toMatchObject({ cell: cellA, attempt: 1, afterSeq: 0 });
  });

  it("waits while the cell answers", () => {
    const store = begin();
    expect(pulled(store, 11_000, nothing)).toBe("waiting");
    expect(watchdogDueMs(aContext(store))).toBe(21_000);
  });

  it("reads a turn itself once it finds frames that nobody journaled", () => {
    const store = begin();
    pulled(store, 11_000, { ...nothing, segment: frames(1, 3) });
    expect(turnOf(store)).toMatchObject({ journalToSeq: 3, drivenBy: "object" });
    expect(watchdogDueMs(aContext(store))).toBe(12_000);
    checkpoint(aContext(store, 11_600), {
      scope,
      turnId: turnIdOf(first),
      attempt: 1,
      segment: frames(4, 5),
    });
    expect(watchdogDueMs(aContext(store))).toBe(21_600);
  });

  it("is not ended by a Worker that never heard its cell, once the object reads it", () => {
    const store = begin();
    pulled(store, 11_000, { ...nothing, segment: frames(1, 3) });
    const lease = { turnId: turnIdOf(first), attempt: 1, cell: cellA } as TurnLease;
    const end = (segment: CompleteTurnInput["segment"], status: "failed" | "completed") =>
      completeTurn(aContext(store, 11_600), {
        scope,
        turnId: lease.turnId,
        attempt: 1,
        segment,
        outcome: anOutcome(lease, { status, items: [], error: saturated }),
      });
    expect(end(null, "failed")).toStrictEqual({ kind: "superseded" });
    expect(end(frames(3, 3), "failed")).toStrictEqual({ kind: "superseded" });
    expect(turnOf(store).state).toBe("running");
    // One that has more than the journal knows how the turn ended.
    expect(end(frames(2, 4), "failed")).toStrictEqual({ kind: "ok" });
    expect(turnOf(store)).toMatchObject({ state: "failed", journalToSeq: 4 });
  });

  it("begins a lost turn anew on another cell, with the journal, and frees nothing", () => {
    const store = begin();
    checkpoint(aContext(store, 2_000), {
      scope,
      turnId: turnIdOf(first),
      attempt: 1,
      segment: frames(1, 2),
    });
    expect(pulled(store, 12_000, unknown)).toBe("waiting");
    const dispatch = dispatchAt(store, 12_000);
    expect(dispatch).toMatchObject({
      cell: cellB,
      attempt: 2,
      lease: { resume: { frames: frames(1, 2).text, toSeq: 2, continuations: 1 } },
      owner: { tenant: "acme", jurisdiction: "eu" },
    });
    expect(turnOf(store)).toMatchObject({ restartedAfterSeq: 2, state: "running" });
    expect(beginTurn(aContext(store, 12_000), aTurn(second))).toMatchObject({
      error: { code: "conversation_locked" },
    });
  });

  it("puts the same attempt again when it does not know whether it was put, and pulls it then", () => {
    const store = begin();
    pulled(store, 11_000, unknown);
    expect(dispatchAt(store, 11_000)).toEqual(dispatchAt(store, 11_000));
    expect(dispatched(store, 11_000, { kind: "started" })).toBe("waiting");
    expect(pullAt(store, 12_000)).toMatchObject({ cell: cellB, attempt: 2 });
  });

  it("says that nothing may differ for a client that does not stream", () => {
    const template = aTemplate();
    const store = begin({
      template: { ...template, rendering: { ...template.rendering, stream: false } },
    });
    pulled(store, 11_000, unknown);
    expect(turnOf(store).restartedAfterSeq).toBeNull();
  });

  it("gives up a cell only when it cannot be reached twice, half a second apart", () => {
    const store = begin();
    expect(pulled(store, 11_000, unreachable)).toBe("waiting");
    expect(turnOf(store).attempt).toBe(1);
    expect(watchdogDueMs(aContext(store))).toBe(11_500);
    expect(pulled(store, 11_500, unreachable)).toBe("waiting");
    expect(turnOf(store)).toMatchObject({ attempt: 2, cell: cellB });
    expect(store.outbox).toMatchObject([{ entry: { kind: "abort", cell: cellA, attempt: 1 } }]);
  });

  it("begins anew on the only cell when that one answers, and not when it does not", () => {
    const answering = begin();
    expect(pulled(answering, 11_000, unknown, [cellA])).toBe("waiting");
    expect(dispatchAt(answering, 11_000)).toMatchObject({ cell: cellA, attempt: 2 });
    const silent = begin();
    pulled(silent, 11_000, unreachable, [cellA]);
    expect(pulled(silent, 11_500, unreachable, [cellA])).toBe("ended");
    expect(silent.head?.runningTurnRandom).toBeNull();
    expect(turnOf(silent)).toMatchObject({ state: "failed", error: { code: "interrupted" } });
  });

  it("ends a turn that cells lose again and again, tells its readers, and frees the conversation", () => {
    const store = begin();
    let nowMs = 11_000;
    let results = 0;
    while (pulled(store, nowMs, unknown) === "waiting") {
      expect(dispatched(store, nowMs, { kind: "started" })).toBe("waiting");
      nowMs += 1_000;
      results += 1;
    }
    expect(results).toBe(3);
    expect(turnOf(store)).toMatchObject({ state: "failed", error: { code: "interrupted" } });
    expect(store.journals.get(first)?.at(-1)?.text).toContain('"code":"interrupted"');
    expect(beginTurn(aContext(store, nowMs), aTurn(second)).kind).toBe("lease");
  });

  it("continues a begun answer at most twice, seams within an attempt counted", () => {
    const store = begin();
    pulled(store, 11_000, { ...nothing, segment: frames(1, 1), seams: 1 });
    expect(pulled(store, 12_000, unknown)).toBe("waiting");
    expect(turnOf(store)).toMatchObject({ continuations: 2, seams: 0 });
    dispatched(store, 12_000, { kind: "started" });
    expect(pulled(store, 13_000, unknown)).toBe("ended");
    expect(store.journals.get(first)?.at(-1)).toMatchObject({ fromSeq: 2 });
  });

  it("begins nothing anew after the deadline", () => {
    const store = begin({ deadlineMs: 10_000 });
    expect(pulled(store, 11_000, unknown)).toBe("ended");
  });

  it("ends a turn that outlives its deadline, and tells the cell", () => {
    const store = begin({ deadlineMs: 20_000 });
    expect(pulled(store, 30_001, nothing)).toBe("ended");
    expect(turnOf(store)).toMatchObject({ error: { code: "deadline_exceeded" } });
    expect(store.outbox[0]).toMatchObject({ entry: { kind: "abort" } });
  });

  it("completes a turn by the outcome that it pulls, terminal frames included", () => {
    const store = new MemoryConversationStore();
    const begun = beginTurn(aContext(store, 1_000), aTurn(first));
    if (begun.kind !== "lease") throw new Error("no lease");
    const outcome = anOutcome(begun.lease);
    const segment = frames(1, 2);
    const terminal = frames(3, 3);
    expect(pulled(store, 11_000, { ...nothing, segment, terminal, outcome })).toBe("ended");
    expect(turnOf(store)).toMatchObject({ state: "completed", journalToSeq: 3 });
    expect(store.head).toMatchObject({ runningTurnRandom: null, homeCell: cellA });
  });

  it("moves a turn that its cell gave up for a shortage of its own, without the error's frames", () => {
    const store = new MemoryConversationStore();
    const begun = beginTurn(aContext(store, 1_000), aTurn(first));
    if (begun.kind !== "lease") throw new Error("no lease");
    const outcome = anOutcome(begun.lease, { status: "failed", error: saturated, mayMove: true });
    const terminal = frames(3, 3);
    pulled(store, 11_000, { ...nothing, segment: frames(1, 2), terminal, outcome });
    expect(turnOf(store)).toMatchObject({ attempt: 2, cell: cellB, journalToSeq: 2 });
    expect(turnOf(store).restartedAfterSeq).toBeNull();
  });

  it("takes in no pull of an attempt that was replaced", () => {
    const store = begin();
    const pull = pullAt(store, 11_000);
    failover(aContext(store, 11_000), {
      scope,
      turnId: turnIdOf(first),
      attempt: 1,
      segment: null,
      reason: "cut",
      surplusTokens: 0,
      continuations: 0,
      cells: both,
    });
    afterPull(aContext(store, 11_100), pull, { ...nothing, segment: frames(1, 9) }, both);
    expect(turnOf(store)).toMatchObject({ attempt: 2, journalToSeq: 0, drivenBy: "worker" });
  });
});

describe("a Worker that lives although its turn was taken over", () => {
  function takenOver(): MemoryConversationStore {
    const store = begin();
    const segment = frames(1, 2);
    checkpoint(aContext(store, 1_500), { scope, turnId: turnIdOf(first), attempt: 1, segment });
    pulled(store, 11_500, unreachable);
    pulled(store, 12_000, unreachable);
    dispatched(store, 12_000, { kind: "started" });
    return store;
  }

  const input = {
    scope,
    turnId: turnIdOf(first),
    attempt: 1,
    segment: frames(3, 4),
    reason: "silent",
    surplusTokens: 0,
    continuations: 0,
    cells: both,
  };

  it("gets it back with the frames that only it has", () => {
    const store = takenOver();
    expect(failover(aContext(store, 12_100), input)).toMatchObject({
      kind: "lease",
      lease: { attempt: 3, cell: cellB, resume: { toSeq: 4, continuations: 1 } },
    });
    expect(turnOf(store)).toMatchObject({ drivenBy: "worker", journalToSeq: 4 });
    expect(watchdogDueMs(aContext(store))).toBe(22_100);
  });

  it("does not once the object has read on, nor twice", () => {
    const store = takenOver();
    pulled(store, 13_000, { ...nothing, segment: frames(3, 3) });
    expect(failover(aContext(store, 13_100), input)).toEqual({ kind: "superseded" });
    const other = takenOver();
    failover(aContext(other, 12_100), input);
    expect(failover(aContext(other, 12_200), input)).toEqual({ kind: "superseded" });
  });
});

describe("a background turn", () => {
  function background(): MemoryConversationStore {
    return begin({ isBackground: true, deadlineMs: 3_600_000, reservationId: "r1" });
  }

  it("is the object's to dispatch, at once", () => {
    const store = new MemoryConversationStore();
    const begun = beginTurn(aContext(store, 1_000), aTurn(first, { isBackground: true }));
    expect(begun).toMatchObject({ kind: "background", turn: { isQueued: true, state: "running" } });
    expect(dispatchAt(store, 1_000)).toMatchObject({ cell: cellA, attempt: 1 });
  });

  it("is read with pauses of a second once it runs", () => {
    const store = background();
    dispatched(store, 1_000, { kind: "started" });
    expect(turnOf(store).dispatchDueMs).toBeNull();
    expect(watchdogDueMs(aContext(store))).toBe(2_000);
    pulled(store, 2_000, { ...nothing, segment: frames(1, 2) });
    expect(watchdogDueMs(aContext(store))).toBe(3_000);
  });

  it("stays queued while every cell is full, ever more slowly, and ends at its deadline", () => {
    const store = background();
    const pauses: number[] = [];
    let nowMs = 1_000;
    for (;;) {
      const refused = { kind: "refused", error: saturated, mayMove: true } as const;
      if (dispatched(store, nowMs, refused) === "ended") break;
      const dueMs = watchdogDueMs(aContext(store)) ?? 0;
      pauses.push(dueMs - nowMs);
      nowMs = dueMs;
    }
    expect(pauses.slice(0, 5)).toEqual([0, 1_000, 2_000, 4_000, 8_000]);
    expect(Math.max(...pauses)).toBe(30_000);
    expect(nowMs).toBeGreaterThanOrEqual(3_600_000);
    expect(turnOf(store)).toMatchObject({ state: "failed", error: { code: "saturated" } });
    expect(turnOf(store).attempt).toBeLessThan(1_000);
  });

  it("ends at once when the refusal is about the prompt", () => {
    const store = background();
    const error: ErrorOutcome = { code: "context_length_exceeded", message: "long" };
    expect(dispatched(store, 1_000, { kind: "refused", error, mayMove: false })).toBe("ended");
    expect(store.outbox.map(({ entry }) => entry.kind)).toContain("settle");
  });

  it("waits for its only cell to come back", () => {
    const store = background();
    expect(dispatched(store, 1_000, { kind: "unreachable" }, [cellA])).toBe("waiting");
    expect(watchdogDueMs(aContext(store))).toBe(1_500);
  });

  it("stops at the cell a dispatch that arrived after the end", () => {
    const store = background();
    const dispatch = dispatchAt(store, 1_000);
    const outcome = anOutcome(dispatch.lease);
    const { turnId } = dispatch.lease;
    completeTurn(aContext(store), { scope, turnId, attempt: 1, segment: null, outcome });
    store.outbox = [];
    afterDispatch(aContext(store, 1_100), dispatch, { kind: "started" }, both);
    expect(store.outbox).toMatchObject([{ entry: { kind: "abort", cell: cellA, attempt: 1 } }]);
  });
});

describe("a begin whose reply was lost", () => {
  it("gets its own lease again, and no second turn", () => {
    const store = new MemoryConversationStore();
    const begun = beginTurn(aContext(store, 1_000), aTurn(first));
    expect(beginTurn(aContext(store, 1_200), aTurn(first))).toEqual(begun);
    expect(store.items.size).toBe(1);
  });

  it("gets the turn to read when the object runs it meanwhile, or it is over", () => {
    const store = begin();
    pulled(store, 11_000, unknown);
    expect(beginTurn(aContext(store, 11_200), aTurn(first))).toMatchObject({
      kind: "replay",
      turn: { attempt: 2, state: "running" },
    });
    const background = begin({ isBackground: true });
    expect(
      beginTurn(aContext(background, 2_000), aTurn(first, { isBackground: true })),
    ).toMatchObject({ kind: "background", turn: { attempt: 1 } });
  });
});
