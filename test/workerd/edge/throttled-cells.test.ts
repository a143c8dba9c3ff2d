import { describe, expect, it } from "vitest";
import { throttleCells } from "#edge/adapters/throttled-cells.ts";
import type { CellAnswer, CellClient } from "#edge/ports.ts";
import type { CellDescription } from "#shared/config/topology.ts";
import type { TurnRequest } from "#shared/protocol/internal/turn-request.ts";

const cell = { id: "eu-west-1a" } as CellDescription;

function aTurn(changes: Partial<TurnRequest> = {}): TurnRequest {
  const tenant = "flood";
  return {
    priority: "batch",
    attempt: 1,
    resume: null,
    tenant,
    ...changes,
  } as unknown as TurnRequest;
}

function aClient() {
  const world = { nowMs: 0, drawn: 0.5, throttle: null as string | null, asked: 0 };
  const inner = {
    startTurn: (): Promise<CellAnswer> => {
      world.asked += 1;
      const error = { code: "saturated", message: "" } as const;
      const { throttle } = world;
      return Promise.resolve({
        kind: "refused",
        error,
        mayMove: true,
        shard: null,
        level: null,
        throttle,
      });
    },
  } as unknown as CellClient;
  const cells = throttleCells(
    inner,
    () => world.nowMs,
    () => world.drawn,
  );
  const ask = (turn = aTurn()) => cells.startTurn(cell, turn, {} as never);
  return { world, ask };
}

describe("a cell that says what to keep away", () => {
  it("is not asked for that share, and another cell may be", async () => {
    const { world, ask } = aClient();
    await ask();
    await ask();
    expect(world.asked).toBe(2);
    world.throttle = "0,0,0,80";
    await ask();
    const answer = await ask();
    expect(world.asked).toBe(3);
    expect(answer).toMatchObject({ kind: "refused", mayMove: true, error: { code: "saturated" } });
    world.drawn = 0.9;
    await ask();
    expect(world.asked).toBe(4);
  });

  it("is asked for other tenants, until it says so of them", async () => {
    const { world, ask } = aClient();
    world.throttle = "0,0,0,80";
    await ask();
    world.drawn = 0;
    world.throttle = null;
    const quiet = aTurn({ tenant: "quiet" as never });
    await ask(quiet);
    await ask(quiet);
    expect(world.asked).toBe(3);
    await ask();
    expect(world.asked).toBe(3);
  });

  it("is asked for other classes, for begun answers, and again when its word is old", async () => {
    const { world, ask } = aClient();
    world.throttle = "0,0,0,80";
    await ask();
    world.drawn = 0;
    await ask(aTurn({ priority: "critical" }));
    await ask(aTurn({ priority: "interactive" }));
    await ask(aTurn({ attempt: 2 }));
    expect(world.asked).toBe(4);
    await ask();
    expect(world.asked).toBe(4);
    world.nowMs = 31_000;
    await ask();
    expect(world.asked).toBe(5);
  });

  it("is asked as before once it says nothing of the kind any more", async () => {
    const { world, ask } = aClient();
    world.throttle = "0,0,0,80";
    await ask();
    world.throttle = null;
    world.drawn = 0.9;
    await ask();
    world.drawn = 0;
    await ask();
    expect(world.asked).toBe(3);
  });
});
