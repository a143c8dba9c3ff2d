import { describe, expect, test } from "vitest";

import { handleControl } from "#dev/upstash/control.ts";
import { FaultBoard } from "#dev/upstash/faults.ts";

const regions = ["eu-west-1", "us-east-1"];

function send(board: FaultBoard, method: string, body: unknown = "", query = "") {
  const text = typeof body === "string" ? body : JSON.stringify(body);
  return handleControl(board, { method, query: new URLSearchParams(query), body: text, regions });
}

describe("/control/faults", () => {
  test.for<object>([
    { kind: "freeze" },
    { kind: "lag", lagMs: 0 },
    { kind: "lose-writes", probability: 1 },
    { kind: "delay", delayMs: 600_000 },
    { kind: "dead", region: "eu-west-1" },
    { kind: "status", status: 429 },
    { kind: "garbage" },
    { kind: "html" },
    { kind: "empty" },
    { kind: "lie", key: "a*", value: { weight: "0" } },
  ])("takes %j", (fault) => {
    const board = new FaultBoard();
    expect(send(board, "POST", fault)).toEqual({ status: 200, body: { faults: [fault] } });
    expect(send(board, "GET")).toEqual({ status: 200, body: { faults: [fault] } });
  });

  test.for<[body: unknown, path: string, wanted: string]>([
    [{ kind: "freez" }, "kind", "one of freeze, lag"],
    [{}, "kind", "one of freeze, lag"],
    [{ kind: "freeze", forMs: 3 }, "forMs", "no such field"],
    [{ kind: "delay" }, "delayMs", "number"],
    [{ kind: "delay", delayMs: 600_001 }, "delayMs", "600000"],
    [{ kind: "lag", lagMs: -1 }, "lagMs", ">=0"],
    [{ kind: "lose-writes", probability: 1.01 }, "probability", "<=1"],
    [{ kind: "status", status: 200 }, "status", ">=400"],
    [{ kind: "lie", key: "a", value: 3 }, "value", ""],
    [{ kind: "dead", region: "mars" }, "region", "one of eu-west-1, us-east-1"],
    ["{", "", "a JSON object"],
    [[], "", "object"],
  ])("refuses %j by path, got and wanted", ([body, path, wanted]) => {
    const board = new FaultBoard();
    const answer = send(board, "POST", body);
    expect(answer.status).toBe(400);
    expect(answer.body).toMatchObject({
      issues: [{ path, wanted: expect.stringContaining(wanted) }],
      error: expect.stringContaining(`${path === "" ? "body" : path}: got `),
    });
    expect(board.list()).toEqual([]);
  });

  test("the newest of one kind, region and key replaces the older", () => {
    const board = new FaultBoard();
    send(board, "POST", { kind: "delay", delayMs: 1 });
    send(board, "POST", { kind: "delay", delayMs: 2, region: "eu-west-1" });
    send(board, "POST", { kind: "delay", delayMs: 3 });
    expect(board.list()).toHaveLength(2);
    expect(board.find("delay", "eu-west-1")?.delayMs).toBe(2);
    expect(board.find("delay", "us-east-1")?.delayMs).toBe(3);
    expect(board.find("delay", undefined)?.delayMs).toBe(3);
  });

  test("DELETE ends all, one kind, or one region", () => {
    const board = new FaultBoard();
    const fill = (): void => {
      for (const kind of ["dead", "freeze"]) {
        for (const region of regions) send(board, "POST", { kind, region });
      }
    };
    fill();
    send(board, "DELETE", "", "kind=dead&region=eu-west-1");
    expect(board.list()).toHaveLength(3);
    send(board, "DELETE", "", "kind=freeze");
    expect(board.list()).toEqual([{ kind: "dead", region: "us-east-1" }]);
    fill();
    expect(send(board, "DELETE")).toEqual({ status: 200, body: { faults: [] } });
  });

  test("DELETE with what it does not know changes nothing", () => {
    const board = new FaultBoard();
    send(board, "POST", { kind: "dead" });
    for (const query of ["kind=ded", "region=mars", "knd=dead"]) {
      expect(send(board, "DELETE", "", query).status).toBe(400);
    }
    expect(board.list()).toHaveLength(1);
  });

  test("other methods are refused", () => {
    expect(send(new FaultBoard(), "PUT").status).toBe(405);
  });
});
