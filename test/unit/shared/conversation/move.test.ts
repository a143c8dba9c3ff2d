import { describe, it } from "vitest";
import { addItems, deleteItem, eraseConversation } from "#shared/conversation/items.ts";
import { moveDueMs, readHome } from "#shared/conversation/move.ts";
import { completeTurn } from "#shared/conversation/run-turn.ts";
import type { CellId, RegionId } from "#shared/residency/brands.ts";
import { aScope, anItem, anOutcome, cellA } from "#test/support/conversation-builders.ts";
import { aDestination, aMovingWorld, assertMoved, policy } from "./a-moving-world.ts";

const inRegion = aDestination({
  cell: "eu-west-1b" as CellId,
  region: "eu-west-1" as RegionId,
});

describe("a move inside a region", () => {
  it("switches without copying and without refusing a turn", ({ expect }) => {
    const world = aMovingWorld();
    world.sent.length = 0;
    world.start(inRegion);
    expect(world.begin().kind).toBe("lease");
    world.moveOn();
    expect(world.head.move?.step).toBe("freezing");
    const running = world.store.readTurn(String(world.head.runningTurnRandom));
    completeTurn(world.context(), {
      scope: aScope(),
      turnId: running?.turnId as never,
      attempt: 1,
      segment: null,
      outcome: anOutcome({ turnId: running?.turnId as never, attempt: 1, cell: cellA } as never),
    });
    expect(world.head.homeCell).toBe(cellA);
    world.moveOn();
    expect(world.head).toMatchObject({
      homeCell: "eu-west-1b",
      homeShard: "eu-central-1a/llama-0",
      move: { step: "done", copiesHistory: false },
    });
    world.deliver();
    expect(world.sent.map(({ command }) => command.kind)).not.toContain("release");
    expect(world.database(cellA).items).toHaveLength(9);
  });

  it("does not wait for a prefill where there is nothing to compute", ({ expect }) => {
    const world = aMovingWorld();
    world.prewarm = { kind: "none" };
    world.start(inRegion);
    world.moveOn();
    expect(world.head.move).toMatchObject({ step: "done", prewarm: null });
    expect(world.head.homeShard).toBeNull();
  });
});

describe("while a move waits for its turn to freeze", () => {
  it("no other turn begins, and the running one ends first", ({ expect }) => {
    const world = aMovingWorld();
    const begun = world.begin();
    if (begun.kind !== "lease") throw new Error("no lease");
    world.start();
    world.moveOn();
    expect(world.head.move?.step).toBe("freezing");
    expect(moveDueMs(world.context())).toBe(world.nowMs + policy.waitingMsMax);
    expect(world.begin()).toMatchObject({ error: { code: "conversation_locked" } });
    const { lease } = begun;
    const outcome = anOutcome(lease);
    const { turnId } = lease;
    completeTurn(world.context(), { scope: aScope(), turnId, attempt: 1, segment: null, outcome });
    expect(moveDueMs(world.context())).toBeLessThanOrEqual(world.nowMs);
    expect(world.begin()).toMatchObject({
      error: { code: "conversation_locked", retryAfterMs: 1_000 },
    });
    world.moveOn();
    assertMoved(world);
  });

  it("gives up when the running turn takes too long", ({ expect }) => {
    const world = aMovingWorld();
    world.begin();
    world.start();
    world.moveOn();
    world.nowMs += policy.waitingMsMax - 1;
    expect(world.advance()).toBeNull();
    expect(world.head.move?.step).toBe("freezing");
    world.nowMs += 1;
    world.moveOn();
    expect(world.head.move).toMatchObject({ step: "failed", reason: "turnTooLong" });
  });

  it("neither adds nor deletes items", ({ expect }) => {
    const world = aMovingWorld();
    world.begin();
    world.start();
    world.moveOn();
    const scope = aScope();
    const locked = { kind: "refused", error: { code: "conversation_locked" } };
    const { id } = world.store.readItems(1, 1, 1)[0] ?? { id: "" };
    expect(
      addItems(world.context(), { scope, idempotency: null, items: [anItem("x")] }),
    ).toMatchObject(locked);
    expect(deleteItem(world.context(), { scope, itemId: id })).toMatchObject(locked);
  });
});

describe("the prefill of a destination", () => {
  it("is waited for when its share is used up, and given up after a bound", ({ expect }) => {
    const world = aMovingWorld();
    world.prewarm = { kind: "limited", retryAfterMs: 7_000 };
    world.start();
    world.moveOn();
    expect(moveDueMs(world.context())).toBe(world.nowMs + 7_000);
    expect(world.begin().kind).toBe("lease");
    world.finish();
    expect(world.head.move).toMatchObject({ step: "failed", reason: "prewarmLimited" });
    expect(world.sent.map(({ command }) => command.kind)).not.toContain("release");
  });

  it.for(["unreachable", "unavailable"] as const)(
    "is tried again when it is %s, a few times",
    (kind, { expect }) => {
      const world = aMovingWorld();
      world.prewarm = kind === "unavailable" ? { kind, reason: "draining" } : { kind };
      world.start();
      world.moveOn();
      expect(world.head.move).toMatchObject({ step: "warming", failures: 1 });
      world.finish();
      expect(world.head.move).toMatchObject({ step: "failed", reason: "destinationUnavailable" });
      expect(world.head.homeCell).toBe(cellA);
    },
  );
});

describe("a mover", () => {
  it("joins a move to the same place, and is refused for another", ({ expect }) => {
    const world = aMovingWorld();
    world.start();
    expect(world.start(aDestination(), "move_2")).toMatchObject({
      kind: "ok",
      value: { move: { moveId: "move_1" } },
    });
    expect(world.start(inRegion, "move_2")).toMatchObject({
      kind: "refused",
      error: { code: "conversation_locked", retryAfterMs: 1_000 },
    });
  });

  it("that repeats its own call after the end does not move again", ({ expect }) => {
    const world = aMovingWorld();
    world.start();
    world.moveOn();
    expect(world.start()).toMatchObject({ kind: "ok", value: { move: { step: "done" } } });
  });

  it("is refused a destination that does not serve the conversation's model", ({ expect }) => {
    const world = aMovingWorld();
    expect(world.start(aDestination({ models: ["other"] }))).toMatchObject({
      kind: "refused",
      error: { code: "invalid_request" },
    });
    expect(world.head.move).toBeUndefined();
  });

  it("does not find a conversation that is erased", ({ expect }) => {
    const world = aMovingWorld();
    eraseConversation(world.context(), aScope());
    expect(world.start()).toMatchObject({ kind: "refused", error: { code: "not_found" } });
    expect(readHome(world.context(), aScope())).toMatchObject({ error: { code: "not_found" } });
  });

  it("whose reply comes after the move has ended changes nothing", ({ expect }) => {
    const world = aMovingWorld();
    world.start();
    const work = world.advance();
    if (work === null) throw new Error("nothing to do");
    world.moveOn();
    const { head } = world;
    world.apply(work, { kind: "prewarm", reply: { kind: "unreachable" } });
    expect(world.head).toBe(head);
  });
});
