import { describe, it } from "vitest";
import { addItems, deleteItem, eraseConversation } from "#shared/conversation/items.ts";
import { moveDueMs, readHome } from "#shared/conversation/move.ts";
import { defaultMovePolicy } from "#shared/conversation/move-state.ts";
import { nextDelivery } from "#shared/conversation/outbox.ts";
import { completeTurn } from "#shared/conversation/run-turn.ts";
import type { CellId, RegionId } from "#shared/residency/brands.ts";
import { aScope, anItem, anOutcome, cellA, cellB } from "#test/support/conversation-builders.ts";
import { MovingWorld, aDestination, aMovingWorld, policy } from "./a-moving-world.ts";

const inRegion = aDestination({
  cell: "eu-west-1b" as CellId,
  region: "eu-west-1" as RegionId,
});

/** What holds at every instant, whatever was lost: the region that the head names has all that was delivered. */
function assertOneHome(world: MovingWorld): void {
  const { deliveredSeq, historyCell } = world.head;
  const { items } = world.database(historyCell);
  if (items.length < deliveredSeq) {
    throw new Error(`${historyCell} has ${items.length} items of ${deliveredSeq}`);
  }
}

/** What holds at the end: one region has all, equal to the object; the other has nothing; each turn is billed once. */
function assertMoved(world: MovingWorld): void {
  world.deliver();
  const { move, historyCell, homeCell } = world.head;
  const old = world.database(cellA);
  const fresh = world.database(cellB);
  const problems = [
    move?.step === "done" ? "" : `the move is ${move?.step}: ${move?.reason}`,
    historyCell === cellB && homeCell === cellB ? "" : "the home is not the destination",
    fresh.execute({ ...sealOf(world), fence: fresh.fence }).kind === "sealed" ? "" : "no seal",
    old.items.length === 0 ? "" : "the old region still has items",
    old.isErased || fresh.isErased ? "something was erased" : "",
    world.store.outbox.length === 0 ? "" : "the outbox is not empty",
    [...old.usage.keys()].some((turn) => fresh.usage.has(turn)) ? "a turn is billed twice" : "",
    old.usage.size + fresh.usage.size === world.store.turns.size ? "" : "a turn is not billed",
  ].filter((problem) => problem !== "");
  if (problems.length > 0) throw new Error(problems.join("; "));
  const sealed = fresh.execute({ ...sealOf(world), fence: fresh.fence });
  if (sealed.kind !== "sealed" || sealed.chain !== world.ownChain()) {
    throw new Error("the chains differ");
  }
}

function sealOf(world: MovingWorld) {
  const { conversationId, incarnation: fence, jurisdiction, tenant } = world.head;
  return { v: 1, kind: "seal", tenant, jurisdiction, conversationId, fence } as const;
}

describe("a move to another region", () => {
  it("copies the history, checks it, switches, and has the old copy forgotten", ({ expect }) => {
    const world = aMovingWorld();
    expect(world.start()).toMatchObject({ kind: "ok", value: { move: { step: "warming" } } });
    world.moveOn();
    expect(world.head).toMatchObject({ homeShard: "eu-central-1a/llama-0", deliveredSeq: 7 });
    expect(world.database(cellB).items.map(({ isDeleted }) => isDeleted)).toEqual([
      false,
      false,
      true,
      false,
      false,
      false,
      false,
    ]);
    assertMoved(world);
    expect(readHome(world.context(), aScope())).toMatchObject({
      kind: "ok",
      value: {
        homeCell: cellB,
        move: {
          step: "done",
          oldCopy: "gone",
          items: 7,
          copiedItems: 7,
          prewarm: { promptTokens: 900, cachedTokens: 0 },
        },
      },
    });
    world.turn();
    world.deliver();
    expect(world.database(cellB).items).toHaveLength(9);
    expect(world.database(cellA).items).toHaveLength(0);
  });

  it("does its steps in the order freeze, copy, fence, switch, release", ({ expect }) => {
    const world = aMovingWorld();
    world.sent.length = 0;
    world.start();
    world.moveOn();
    world.deliver();
    const at = world.sent.map(({ cell, command }) => `${command.kind} ${cell}`);
    expect(at).toEqual([
      `release ${cellB}`,
      `append ${cellB}`,
      `append ${cellB}`,
      `append ${cellB}`,
      `seal ${cellA}`,
      `seal ${cellB}`,
      `release ${cellA}`,
    ]);
    const fences = world.sent.map(({ command }) => command.fence);
    expect(fences).toEqual(fences.toSorted((a, b) => a - b));
  });

  it("goes on after a crash at every point, before and after each call", ({ expect }) => {
    let points = 0;
    for (let crashAt = 0; ; crashAt += 1) {
      const world = aMovingWorld();
      // A turn that no database knows yet, so that its usage moves along.
      world.turn();
      world.start();
      let at = 0;
      let hasCrashed = false;
      const mayCrash = (): boolean => {
        assertOneHome(world);
        if (at++ !== crashAt) return false;
        hasCrashed = true;
        world.crash();
        return true;
      };
      for (let count = 0; count < 100; count += 1) {
        const work = world.advance();
        if (mayCrash()) continue;
        if (work === null) break;
        const reply = world.perform(work);
        if (mayCrash()) continue;
        world.apply(work, reply);
        mayCrash();
      }
      assertMoved(world);
      if (!hasCrashed) break;
      points += 1;
    }
    expect(points).toBeGreaterThan(20);
  });

  it("is not harmed by anything that was sent before and comes once more, whenever", ({
    expect,
  }) => {
    const world = aMovingWorld();
    world.start();
    world.moveOn();
    const early = [...world.sent];
    world.deliver();
    const all = [...world.sent];
    const { items } = world.database(cellB);
    for (const { cell, command } of [...early, ...all]) {
      world.database(cell).execute(command);
      expect(world.database(cellB).items).toEqual(items);
      expect(world.database(cellA).items).toEqual([]);
    }
  });

  it("leaves nothing in the old region when its first delivery comes after the release", ({
    expect,
  }) => {
    const world = new MovingWorld();
    world.turn();
    world.start();
    let late: ReturnType<typeof nextDelivery> = null;
    for (let count = 0; count < 50; count += 1) {
      const work = world.advance();
      if (work === null) break;
      if (work.kind === "sealNew") late = nextDelivery(world.context());
      world.apply(work, world.perform(work));
    }
    world.deliver();
    if (late?.kind !== "history") throw new Error("nothing was on its way");
    expect(late).toMatchObject({ cell: cellA, command: { kind: "append", fromSeq: 1 } });
    world.execute(late.cell, late.command);
    expect(world.database(cellA).items).toEqual([]);
  });

  it("copies again when the copy is not the same", ({ expect }) => {
    const world = aMovingWorld();
    world.start();
    const fresh = world.database(cellB);
    for (let count = 0; count < 50; count += 1) {
      const work = world.advance();
      if (work === null) break;
      if (work.kind === "sealNew" && world.head.move?.recopies === 0) {
        fresh.items = fresh.items.map((item) => (item.seq === 2 ? { ...item, json: "{}" } : item));
      }
      world.apply(work, world.perform(work));
    }
    expect(world.head.move).toMatchObject({ step: "done", recopies: 1 });
    assertMoved(world);
  });

  it("is given up when the copies stay different, and nothing is left of them", ({ expect }) => {
    const world = aMovingWorld();
    world.start();
    for (let count = 0; count < 100; count += 1) {
      const work = world.advance();
      if (work === null) break;
      const reply = world.perform(work);
      world.apply(work, reply.kind === "history" ? { ...reply, ownChain: "other" } : reply);
    }
    expect(world.head.move).toMatchObject({ step: "failed", reason: "historyDiffers" });
    world.deliver();
    expect(world.head).toMatchObject({ historyCell: cellA, homeCell: cellA });
    expect(world.database(cellA).items).toHaveLength(7);
    expect(world.database(cellB).items).toEqual([]);
    expect(world.begin().kind).toBe("lease");
  });

  it("goes on from what is there when the destination lost a piece", ({ expect }) => {
    const world = aMovingWorld();
    world.start();
    let hasLost = false;
    for (let count = 0; count < 50; count += 1) {
      const work = world.advance();
      if (work === null) break;
      const reply = world.perform(work);
      if (work.kind === "append" && work.toSeq === 6 && !hasLost) {
        hasLost = true;
        world.database(cellB).items.length = 2;
      }
      world.apply(work, reply);
    }
    expect(hasLost).toBe(true);
    assertMoved(world);
  });

  it("leaves a region that does not answer, and has it forget its copy when it is back", ({
    expect,
  }) => {
    const world = aMovingWorld();
    world.turn();
    world.database(cellA).isDown = true;
    world.start();
    world.finish();
    world.deliver();
    expect(world.head).toMatchObject({ historyCell: cellB, move: { step: "done" } });
    const away = readHome(world.context(), aScope());
    expect(away).toMatchObject({ value: { move: { oldCopy: "leaving" } } });
    world.turn();
    world.deliver();
    expect(world.database(cellB).items).toHaveLength(11);
    world.database(cellA).isDown = false;
    assertMoved(world);
  });

  it("leaves a cell that is not in the topology any more, and releases nothing there", ({
    expect,
  }) => {
    const world = aMovingWorld();
    world.turn();
    world.store.writeHead({ ...world.head, historyCell: "eu-north-1a" as CellId });
    world.sent.length = 0;
    world.start();
    world.moveOn();
    world.deliver();
    expect(world.head).toMatchObject({ historyCell: cellB, move: { step: "done" } });
    expect(new Set(world.sent.map(({ cell }) => cell))).toEqual(new Set([cellB]));
    expect(world.database(cellB).items).toHaveLength(9);
    expect(world.database(cellB).usage.size).toBe(1);
    expect(readHome(world.context(), aScope())).toMatchObject({
      value: { move: { oldCopy: "kept" } },
    });
  });

  it("is given up when the destination does not answer while turns are refused", ({ expect }) => {
    const world = aMovingWorld();
    world.start();
    const warming = world.advance();
    if (warming !== null) world.apply(warming, world.perform(warming));
    world.database(cellB).isDown = true;
    world.finish();
    expect(world.head.move).toMatchObject({ step: "failed", reason: "destinationUnavailable" });
    expect(world.begin().kind).toBe("lease");
    world.database(cellB).isDown = false;
    world.deliver();
    expect(world.database(cellB).items).toEqual([]);
  });

  it("refuses turns no longer than its bound, however slow each piece is", ({ expect }) => {
    const world = aMovingWorld();
    world.start();
    for (let count = 0; count < 20; count += 1) {
      const work = world.advance();
      if (work === null) break;
      world.nowMs += work.kind === "append" ? defaultMovePolicy.frozenMsMax : 0;
      world.apply(work, world.perform(work));
    }
    expect(world.head.move).toMatchObject({ step: "failed", reason: "copyTooSlow" });
    expect(world.begin().kind).toBe("lease");
  });

  it("goes there and back again", ({ expect }) => {
    const world = aMovingWorld();
    world.start();
    world.moveOn();
    world.turn();
    const home = aDestination({ cell: cellA, region: "eu-west-1" as RegionId });
    world.start(home, "move_2");
    // The old region's release of the first move is still in the outbox, and comes after the second copy.
    world.moveOn();
    world.deliver();
    expect(world.head).toMatchObject({ historyCell: cellA, move: { step: "done" } });
    expect(world.database(cellA).items).toHaveLength(9);
    expect(world.database(cellB).items).toEqual([]);
    expect(world.store.outbox).toEqual([]);
  });

  it("does not go where the conversation was erased", ({ expect }) => {
    const world = aMovingWorld();
    world.database(cellB).isErased = true;
    world.start();
    world.finish();
    expect(world.head.move).toMatchObject({ step: "failed", reason: "erasedThere" });
  });

  it("stops when a newer incarnation of the object has written", ({ expect }) => {
    const world = aMovingWorld();
    world.start();
    const warming = world.advance();
    if (warming !== null) world.apply(warming, world.perform(warming));
    world.database(cellB).fence = 99;
    const work = world.advance();
    if (work === null) throw new Error("nothing to do");
    expect(world.apply(work, world.perform(work))).toBe("fenced");
    expect(world.head.historyCell).toBe(cellA);
  });

  it("ends with an erasure at every point, and no region keeps an item", ({ expect }) => {
    for (let eraseAt = 0; eraseAt < 12; eraseAt += 1) {
      const world = aMovingWorld();
      world.start();
      let late: (() => void) | null = null;
      for (let count = 0; count < 40; count += 1) {
        const work = world.advance();
        if (count === eraseAt || work === null) {
          eraseConversation(world.context(), aScope());
          // A piece that was on its way arrives after the erasure.
          if (work !== null) late = () => void world.perform(work);
          break;
        }
        world.apply(work, world.perform(work));
      }
      world.deliver();
      late?.();
      expect(world.database(cellA).items).toEqual([]);
      expect(world.database(cellB).items).toEqual([]);
      expect(moveDueMs(world.context())).toBeNull();
    }
  });
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
    expect(addItems(world.context(), { scope, items: [anItem("x")] })).toMatchObject(locked);
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
