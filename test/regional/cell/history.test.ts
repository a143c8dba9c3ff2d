import { describe, it } from "vitest";
import type { HistoryCommand, HistoryReply } from "#shared/protocol/internal/history.ts";
import { aCell, aDurableTurn, fakeHistory, readStream, until } from "./harness.ts";

const erase = {
  v: 1,
  kind: "erase",
  tenant: "acme",
  jurisdiction: "eu",
  conversationId: "conv_eu_1",
  fence: 1,
};

describe("a cell's history route", () => {
  it("passes commands to the database and its reply back", async ({ expect }) => {
    const commands: HistoryCommand[] = [];
    const history = {
      ...fakeHistory([]),
      execute: async (command: HistoryCommand): Promise<HistoryReply> => {
        commands.push(command);
        return { kind: "gap", nextSeq: 4 };
      },
    };
    const cell = await aCell({ engines: 0, overrides: { history } });
    const response = await cell.call("POST", "/internal/history", erase);
    expect(response.status).toBe(200);
    expect(await response.json()).toEqual({ kind: "gap", nextSeq: 4 });
    expect(commands).toEqual([erase]);
  });

  it("answers 503 while the database is away, and still serves prompts", async ({ expect }) => {
    const history = {
      ...fakeHistory([]),
      execute: async (): Promise<HistoryReply> => ({ kind: "unavailable" }),
      ping: async () => false,
    };
    const cell = await aCell({ engines: 1, overrides: { history } });
    expect((await cell.call("POST", "/internal/history", erase)).status).toBe(503);
    await until(async () => (await fetch(`${cell.url}/readyz`)).status === 200);
    const ready = await (await fetch(`${cell.url}/readyz`)).json();
    expect(ready).toMatchObject({ status: "ready", reasons: ["databaseUnavailable"] });
    const stream = await readStream(await cell.put(aDurableTurn()));
    expect(stream.outcome?.status).toBe("completed");
  });

  it("forgets the frames of an erased conversation at once, and of no other", async ({
    expect,
  }) => {
    const cell = await aCell({ engines: 1 });
    const [erased, kept] = [aDurableTurn(), aDurableTurn({ conversationId: "conv_eu_2" })];
    for (const turn of [erased, kept]) await (await cell.put(turn)).text();
    await cell.call("POST", "/internal/history", erase);
    const frames = (turnId: string) => `/internal/turns/${turnId}/frames?attempt=1&after=0`;
    expect((await cell.call("GET", frames(erased.turnId))).status).toBe(404);
    expect((await cell.call("GET", frames(kept.turnId))).status).toBe(200);
  });
});
