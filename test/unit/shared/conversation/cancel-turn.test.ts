import { describe, expect, it } from "vitest";
import { beginTurn } from "#shared/conversation/begin-turn.ts";
import { afterCancel, requestCancel } from "#shared/conversation/cancel-turn.ts";
import { checkpoint } from "#shared/conversation/run-turn.ts";
import { readJournal } from "#shared/conversation/turns.ts";
import { afterDispatch, afterPull, dueWork } from "#shared/conversation/watchdog.ts";
import type { Cancel } from "#shared/conversation/watchdog.ts";
import {
  aContext,
  aScope,
  aTurn,
  anOutcome,
  cellA,
  cellB,
  turnIdOf,
} from "#test/support/conversation-builders.ts";
import { MemoryConversationStore } from "#test/support/memory-conversation-store.ts";

const first = "aaaaaaaaaaaa";
const scope = aScope();
const cells = [cellA, cellB];
const stoppedError = { code: "client_closed", message: "stopped" } as const;
const usage = { promptTokens: 7, completionTokens: 3, cachedTokens: 0, reasoningTokens: 0 };

/** A background turn that runs at its cell; two of its frames are journaled. */
function running(isBackground = true): MemoryConversationStore {
  const store = new MemoryConversationStore();
  beginTurn(aContext(store), aTurn(first, { isBackground, reservationId: "r1" }));
  const work = dueWork(aContext(store));
  if (work?.kind === "dispatch") {
    afterDispatch(aContext(store), work, { kind: "started" }, cells);
  }
  const segment = { fromSeq: 1, toSeq: 2, text: "id: 1\ndata: a\n\nid: 2\ndata: b\n\n" };
  checkpoint(aContext(store), { scope, turnId: turnIdOf(first), attempt: 1, segment });
  return store;
}

function request(store: MemoryConversationStore) {
  return requestCancel(aContext(store, 2_000), { scope, turnRandom: first });
}

function cancelOf(store: MemoryConversationStore): Cancel {
  const requested = request(store);
  if (requested.kind !== "ok" || requested.value === null) throw new Error("no cancel");
  return requested.value;
}

/** How the cell says that it stopped the turn. */
function outcomeOf(overrides: Parameters<typeof anOutcome>[1] = {}) {
  const lease = { turnId: turnIdOf(first), attempt: 1, cell: cellA } as Parameters<
    typeof anOutcome
  >[0];
  return anOutcome(lease, {
    status: "cancelled",
    error: stoppedError,
    items: [],
    body: null,
    usage,
    ...overrides,
  });
}

function turnOf(store: MemoryConversationStore) {
  return store.turns.get(first);
}

describe("cancelling a turn", () => {
  it("asks the cell that runs it for what follows the journal", () => {
    expect(cancelOf(running())).toEqual({
      kind: "cancel",
      cell: cellA,
      turnId: turnIdOf(first),
      attempt: 1,
      afterSeq: 2,
    });
  });

  it("ends it with the frames it had, an event that says so, and its usage billed once", () => {
    const store = running();
    const cancel = cancelOf(store);
    const segment = { fromSeq: 3, toSeq: 3, text: "id: 3\ndata: c\n\n" };
    const reply = { kind: "stopped", segment, terminal: null, outcome: outcomeOf() } as const;
    afterCancel(aContext(store, 2_100), cancel, reply);
    afterCancel(aContext(store, 2_200), cancel, reply);
    expect(turnOf(store)).toMatchObject({ state: "cancelled", error: { code: "cancelled" } });
    const journal = readJournal(aContext(store), { scope, turnRandom: first, afterSeq: 2 });
    expect(journal).toMatchObject({ value: { toSeq: 4, turn: { state: "cancelled" } } });
    expect(JSON.stringify(journal)).toContain("id: 4\\nevent: error");
    const entries = store.outbox.map(({ entry }) => entry);
    expect(entries.filter(({ kind }) => kind === "usage")).toMatchObject([
      { usage: { completionTokens: 3, status: "cancelled" } },
    ]);
    expect(entries.filter(({ kind }) => kind === "settle")).toMatchObject([
      { reservationId: "r1", promptTokens: 7, completionTokens: 3 },
    ]);
  });

  it("withdraws its input and unlocks the conversation", () => {
    const store = running();
    const cancel = cancelOf(store);
    afterCancel(aContext(store, 2_100), cancel, { kind: "unknown" });
    expect(store.head?.runningTurnRandom).toBeNull();
    expect([...store.items.values()].every((item) => item.isTombstone)).toBe(true);
    const next = beginTurn(aContext(store, 2_200), aTurn("bbbbbbbbbbbb"));
    expect(next).toMatchObject({ kind: "lease", lease: { items: [{ id: "msg_bbbbbbbbbbbb" }] } });
  });

  it("keeps an answer that was whole before the abort came", () => {
    const store = running();
    const terminal = { fromSeq: 3, toSeq: 3, text: "id: 3\ndata: [DONE]\n\n" };
    const outcome = outcomeOf({ status: "completed", error: null, body: "{}" });
    afterCancel(aContext(store, 2_100), cancelOf(store), {
      kind: "stopped",
      segment: null,
      terminal,
      outcome,
    });
    expect(turnOf(store)).toMatchObject({ state: "completed", body: "{}", journalToSeq: 3 });
  });

  it("has a cell that cannot be reached told again", () => {
    const store = running();
    afterCancel(aContext(store, 2_100), cancelOf(store), { kind: "unreachable" });
    expect(turnOf(store)?.state).toBe("cancelled");
    expect(store.outbox[0]).toMatchObject({ entry: { kind: "abort", cell: cellA, attempt: 1 } });
  });

  it("is due again where the object died before the cell had answered", () => {
    const store = running();
    const cancel = cancelOf(store);
    expect(dueWork(aContext(store, 2_000))).toEqual(cancel);
  });

  it("wins over a pull that reads the stopped end, and over a cell that lost the turn", () => {
    const stopped = running();
    const before = { ...cancelOf(stopped), kind: "pull" } as const;
    const finding = { segment: null, terminal: null, outcome: outcomeOf(), seams: 0 };
    afterPull(aContext(stopped, 2_100), before, { kind: "frames", ...finding }, cells);
    expect(turnOf(stopped)).toMatchObject({ state: "cancelled", error: { code: "cancelled" } });
    const lost = running();
    const pull = { ...cancelOf(lost), kind: "pull" } as const;
    afterPull(aContext(lost, 2_100), pull, { kind: "unknown" }, cells);
    expect(turnOf(lost)).toMatchObject({ state: "cancelled", attempt: 1 });
  });

  it("gives an ended turn back as it is, and refuses one that is not in the background", () => {
    const store = running();
    afterCancel(aContext(store, 2_100), cancelOf(store), { kind: "unknown" });
    expect(request(store)).toEqual({ kind: "ok", value: null });
    expect(request(running(false))).toMatchObject({ error: { code: "invalid_request" } });
    expect(requestCancel(aContext(store), { scope, turnRandom: "cccccccccccc" })).toMatchObject({
      error: { code: "not_found" },
    });
  });
});
