import { describe, it } from "vitest";
import { createCellClient } from "#edge/adapters/cell-client.ts";
import type { CellDescription } from "#shared/config/topology.ts";
import type { TurnRequest } from "#shared/protocol/internal/turn-request.ts";

const cell = { id: "eu-west-1a" } as CellDescription;
const turn = { turnId: "t", attempt: 1, deadlineMs: 1_000 } as TurnRequest;
const call = {
  requestId: "r",
  traceparent: "",
  deadlineMs: 1_000,
  signal: null,
  headTimeoutMs: null,
};

describe("the edge's call about a turn", () => {
  it("is not made after the turn's deadline", async ({ expect }) => {
    let nowMs = 999;
    const sent: string[] = [];
    const client = createCellClient(
      async (_cell, { path }) => {
        sent.push(path);
        return new Response("", { status: 200 });
      },
      () => nowMs,
    );
    expect((await client.startTurn(cell, turn, call)).kind).not.toBe("refused");
    nowMs = 1_000;
    expect(await client.startTurn(cell, turn, call)).toMatchObject({
      kind: "refused",
      error: { code: "deadline_exceeded" },
      mayMove: false,
    });
    expect(sent).toEqual(["/internal/turns/t?attempt=1"]);
  });
});
