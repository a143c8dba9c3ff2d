import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it, onTestFinished } from "vitest";
import { runShardsCommand, shardsTable } from "#dev/cli/shards.ts";

const ready = {
  id: "eu-west-1a/llama-0",
  cell: "eu-west-1a",
  model: "m",
  state: "active",
  in_flight: 3,
  breaker: "closed",
  weight: 1,
  lifecycle: "ready",
  lifecycle_reason: "answers",
  ready_in_seconds: 0,
};
const cold = {
  ...ready,
  id: "eu-west-1a/llama-1",
  in_flight: 0,
  lifecycle: "cold",
  lifecycle_reason: "idle",
  ready_in_seconds: 70,
};
const unknown = {
  ...ready,
  id: "eu-west-1b/llama-0",
  cell: "eu-west-1b",
  state: "unknown",
  in_flight: null,
  breaker: null,
  weight: null,
  lifecycle: null,
  lifecycle_reason: null,
  ready_in_seconds: null,
};

/** Runs the command in a folder where `answer` is what the edge says; null: nothing runs. */
async function run(answer: unknown) {
  const folder = mkdtempSync(join(tmpdir(), "shards-"));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const seen: (string | undefined)[] = [];
  if (answer !== null) {
    const server = createServer((request, response) => {
      seen.push(request.headers.authorization);
      response.end(JSON.stringify(answer));
    });
    await new Promise<void>((resolve) => {
      server.listen(0, "127.0.0.1", resolve);
    });
    onTestFinished(() => void server.close());
    const { port } = server.address() as AddressInfo;
    const file = { edge: { url: `http://127.0.0.1:${port}` }, keys: { admin: "mk_admin_x" } };
    writeFileSync(join(folder, "dev.json"), JSON.stringify(file));
  }
  const out: string[] = [];
  const error: string[] = [];
  const code = await runShardsCommand(".", {
    readStandardInput: () => "",
    out: (line) => out.push(line),
    error: (line) => error.push(line),
    environment: {},
    folder,
  });
  return { code, out, error, seen };
}

describe("the table of shards", () => {
  it("tells state, why, when ready, load, breaker and weight; and counts the states", ({
    expect,
  }) => {
    expect(shardsTable([ready, cold, unknown])).toStrictEqual([
      "SHARD    CELL        MODEL  STATE    WHY      READY-IN  IN-FLIGHT  BREAKER  WEIGHT",
      "llama-0  eu-west-1a  m      ready    answers  now       3          closed   1",
      "llama-1  eu-west-1a  m      cold     idle     70 s      0          closed   1",
      "llama-0  eu-west-1b  m      unknown  -        -         -          -        -",
      "1 ready, 1 cold, 1 unknown",
    ]);
  });
});

describe("meridian shards", () => {
  it("asks the edge with the administrator's key", async ({ expect }) => {
    const { code, out, seen } = await run({ data: [ready] });
    expect([code, seen, out.length]).toStrictEqual([0, ["Bearer mk_admin_x"], 3]);
  });

  it("says so when the edge answers something else, and when nothing runs", async ({ expect }) => {
    expect(await run({ error: {} })).toMatchObject({ code: 1, out: [] });
    const nothing = await run(null);
    expect(nothing.code).toBe(1);
    expect(nothing.error[0]).toContain("Nothing runs here");
  });
});
