import { describe, it } from "vitest";
import { eraseConversation } from "#shared/conversation/items.ts";
import { moveDueMs, readHome } from "#shared/conversation/move.ts";
import { defaultMovePolicy } from "#shared/conversation/move-state.ts";
import { nextDelivery } from "#shared/conversation/outbox.ts";
import type { CellId, RegionId } from "#shared/residency/brands.ts";
import { aScope, cellA, cellB } from "#test/support/conversation-builders.ts";
import {
  MovingWorld,
  aDestination,
  aMovingWorld,
  assertMoved,
  assertOneHome,
} from "./a-moving-world.ts";

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
