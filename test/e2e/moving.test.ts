import { mkdtempSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { killAll, startDev, until } from "./dev-process.ts";
import type { DevProcess } from "./dev-process.ts";
import { readStream, readWhole } from "./read-answer.ts";
import type { Api, ReadAnswer } from "./read-answer.ts";

/** What operators move while clients are served: whole cells, shards, conversations. */
const model = "sim/llama-3.1-8b-instruct";
/** Answers take longer than the cell may go on: those that run must be handed over. */
const drainSeconds = 1;
const tokens = 400;
const cell = "eu-west-1a";
const restartMsMax = 30_000;

let system: DevProcess;

beforeAll(async () => {
  process.env["MERIDIAN_DRAIN_SECONDS"] = String(drainSeconds);
  system = await startDev(mkdtempSync(join(tmpdir(), "meridian-rolling-")));
});

afterAll(async () => {
  delete process.env["MERIDIAN_DRAIN_SECONDS"];
  system.signal("SIGINT");
  await system.ended;
  killAll([system]);
});

interface Asked extends ReadAnswer {
  readonly status: number;
  readonly shard: string;
}

/** One prompt; `first` resolves when the head of its answer is there. */
async function ask(
  api: Api,
  words: string,
  isStreamed: boolean,
  count: number,
  onHead: (shard: string) => void = () => {},
): Promise<Asked> {
  const { edge, keys } = system.file();
  const messages = [{ role: "user", content: `${words} [[tokens:${count}]]` }];
  const body = api === "chat" ? { model, messages } : { model, input: messages };
  const options = api === "chat" && isStreamed ? { stream_options: { include_usage: true } } : {};
  const path = api === "chat" ? "chat/completions" : "responses";
  const response = await fetch(`${edge.url}/v1/${path}`, {
    method: "POST",
    headers: { authorization: `Bearer ${keys["eu"] ?? ""}`, "content-type": "application/json" },
    body: JSON.stringify({ ...body, ...options, ...(isStreamed ? { stream: true } : {}) }),
  });
  const shard = response.headers.get("x-meridian-shard") ?? "";
  onHead(shard);
  const text = await response.text();
  const read = response.ok && isStreamed ? readStream : readWhole;
  return { ...read(api, text), status: response.status, shard };
}

async function isReady(): Promise<boolean> {
  const found = system.file().cells.find(({ id }) => id === cell);
  if (found === undefined) return false;
  return fetch(`${found.url}/readyz`).then(
    (response) => response.ok,
    () => false,
  );
}

const shapes = [
  ["chat", true],
  ["chat", false],
  ["responses", true],
  ["responses", false],
] as const;

/** A JSON call with the client's or the operator's key. */
async function send(
  path: string,
  body?: object,
  key: "eu" | "admin" = path.startsWith("/admin/") ? "admin" : "eu",
) {
  const { edge, keys } = system.file();
  const response = await fetch(`${edge.url}${path}`, {
    method: body === undefined ? "GET" : "POST",
    headers: { authorization: `Bearer ${keys[key] ?? ""}`, "content-type": "application/json" },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  const json = (await response.json()) as Record<string, unknown>;
  return { status: response.status, shard: response.headers.get("x-meridian-shard") ?? "", json };
}

/** A turn of a conversation; what of its prompt was cached. */
async function turnOf(conversation: unknown, input: string) {
  const { json, shard } = await send("/v1/responses", { model, input, conversation });
  expect(json).toMatchObject({ object: "response", status: "completed" });
  const usage = json["usage"] as {
    readonly input_tokens: number;
    readonly input_tokens_details: { readonly cached_tokens: number };
  };
  return {
    shard,
    cachedShare: usage.input_tokens_details.cached_tokens / usage.input_tokens,
  };
}

async function homeOf(conversation: unknown): Promise<Record<string, unknown>> {
  return (await send(`/admin/v1/conversations/${String(conversation)}/migrate`)).json;
}

/** Waits until the conversation's move has ended and the old region has forgotten it. */
async function hasMoved(conversation: unknown): Promise<boolean> {
  return until(async () => {
    const move = (await homeOf(conversation))["move"] as Record<string, unknown> | null;
    return move?.["state"] === "done" && move["old_copy"] !== "leaving";
  }, restartMsMax);
}

// First: the log then tells of this conversation alone.
describe("draining a shard", () => {
  it("moves its conversation on its next turn, to a shard that is warm by then", async () => {
    const { id } = (await send("/v1/conversations", {})).json;
    const words = Array.from({ length: 300 }, (_, index) => `drain${index}`).join(" ");
    const first = await turnOf(id, `Remember this. ${words}`);
    // The cell reads the history from its database, where the object delivers it within seconds.
    const hasHistory = await until(async () => {
      const drained = await send(`/admin/v1/shards/${first.shard}/drain`, { deadlineSeconds: 5 });
      expect(drained.json).toMatchObject({ id: first.shard, state: "drained", in_flight: 0 });
      await until(() => false, 1_500);
      const log = readFileSync(
        join(system.statePath, "logs", `${first.shard.split("/")[0] ?? ""}.log`),
        "utf8",
      );
      if (log.includes('"warmed_ahead"')) return true;
      await send(`/admin/v1/shards/${first.shard}/undrain`, {});
      return false;
    }, restartMsMax);
    expect(hasHistory).toBe(true);
    const listed = (await send("/admin/v1/shards")).json["data"];
    expect(listed).toContainEqual(expect.objectContaining({ id: first.shard, state: "drained" }));
    const second = await turnOf(id, "And now?");
    expect(second.shard).not.toBe(first.shard);
    expect(second.cachedShare).toBeGreaterThan(0.8);
    const undrained = await send(`/admin/v1/shards/${first.shard}/undrain`, {});
    expect(undrained.json).toMatchObject({ state: "active" });
  });
});

describe("draining a shard under a stream", () => {
  it.each(["chat", "responses"] as const)(
    "has it go on at another shard at the deadline, in the same %s stream",
    async (api) => {
      const before = await ask(api, "Tell a story about drains.", true, tokens);
      const head = Promise.withResolvers<string>();
      const running = ask(api, "Tell a story about drains.", true, tokens, head.resolve);
      const shard = await head.promise;
      const drained = await send(`/admin/v1/shards/${shard}/drain`, { deadlineSeconds: 0 });
      expect(drained.json).toMatchObject({ id: shard });
      const answer = await running;
      expect(answer).toMatchObject({ isWhole: true, errorCode: null, faults: [] });
      expect(answer).toMatchObject({
        content: before.content,
        outputTokens: before.outputTokens,
      });
      const [cellOf = ""] = shard.split("/");
      const log = readFileSync(join(system.statePath, "logs", `${cellOf}.log`), "utf8");
      expect(log).toContain('"reason":"drained"');
      await send(`/admin/v1/shards/${shard}/undrain`, {});
    },
  );
});

describe("moving a conversation", () => {
  const long = Array.from({ length: 300 }, (_, index) => `word${index}`).join(" ");

  it("to another shard and to another region: its next turn finds its history cached there", async () => {
    const { id } = (await send("/v1/conversations", {})).json;
    const first = await turnOf(id, `Remember this. ${long}`);
    expect(first.cachedShare).toBeLessThan(0.1);
    const others = system
      .file()
      .shards.filter((shard) => shard.model === model && shard.id !== first.shard);
    const [ownCell = ""] = first.shard.split("/");
    const neighbour = others.find((shard) => shard.cell === ownCell)?.id ?? "";
    const abroad = others.find((shard) => shard.cell !== ownCell && shard.cell.startsWith("eu-"));

    const asked = await send(`/admin/v1/conversations/${String(id)}/migrate`, { shard: neighbour });
    expect(asked.json).toMatchObject({ object: "conversation.home" });
    expect(await hasMoved(id)).toBe(true);
    const second = await turnOf(id, "And now?");
    expect(second.shard).toBe(neighbour);
    expect(second.cachedShare).toBeGreaterThan(0.8);

    const region = abroad?.cell.replace(/a$/, "") ?? "";
    const left = await send(`/admin/v1/conversations/${String(id)}/migrate`, { region });
    expect(left.json).toMatchObject({ object: "conversation.home" });
    expect(await hasMoved(id)).toBe(true);
    expect(await homeOf(id)).toMatchObject({ cell: abroad?.cell, history_region: region });
    const third = await turnOf(id, "And there?");
    expect(third.shard.split("/")[0]).toBe(abroad?.cell);
    expect(third.cachedShare).toBeGreaterThan(0.8);
    const items = (await send(`/v1/conversations/${String(id)}/items?order=asc`)).json["data"];
    expect(items).toHaveLength(6);
  });

  it("is not possible to another jurisdiction, nor with a tenant's key", async () => {
    const { id } = (await send("/v1/conversations", {})).json;
    const path = `/admin/v1/conversations/${String(id)}/migrate`;
    expect((await send(path, { region: "us-east-1" })).status).toBe(404);
    expect((await send(path, { region: "eu-west-1" }, "eu")).status).toBe(404);
  });
});

describe("SIGTERM to a cell", () => {
  it("is noticed by no client: running answers go on elsewhere, new ones begin elsewhere", async () => {
    const prompts = Array.from({ length: 5 }, (_, index) => `Tell story number ${index}.`);
    const before = await Promise.all(
      prompts.flatMap((words) =>
        shapes.map(([api, isStreamed]) => ask(api, words, isStreamed, tokens)),
      ),
    );
    const pid = system.file().cells.find(({ id }) => id === cell)?.pid;
    if (pid === undefined) throw new Error("the cell has no process");

    const heads: string[] = [];
    const running = prompts.flatMap((words) =>
      shapes.map(([api, isStreamed]) =>
        ask(api, words, isStreamed, tokens, (shard) => heads.push(shard)),
      ),
    );
    // Streams give their head at once: some of them run in the cell by then.
    const hasBegun = await until(
      () => heads.filter((shard) => shard.startsWith(`${cell}/`)).length >= 2,
      restartMsMax,
    );
    expect(hasBegun).toBe(true);
    process.kill(pid, "SIGTERM");

    const during: Promise<Asked>[] = [];
    const isGone = await until(() => {
      if (during.length < 60) during.push(ask("chat", `New ${during.length}.`, true, 20));
      return system.file().cells.find(({ id }) => id === cell)?.pid !== pid;
    }, restartMsMax);
    expect(isGone).toBe(true);
    expect(await until(isReady, restartMsMax)).toBe(true);

    const after = await Promise.all(running);
    const whole = { status: 200, isWhole: true, errorCode: null, faults: [] };
    for (const [index, answer] of after.entries()) {
      expect(answer).toMatchObject({ ...whole, content: before[index]?.content });
      // Another cell counts the tokens before the seam by their pieces, and an engine that is behind sends two in one.
      expect(Math.abs((answer.outputTokens ?? 0) - tokens)).toBeLessThan(tokens * 0.1);
    }
    for (const answer of await Promise.all(during)) expect(answer).toMatchObject(whole);
    // The cell had to hand something over, or nothing was tested.
    const log = readFileSync(join(system.statePath, "logs", `${cell}.log`), "utf8");
    const handedOver = log.split("\n").filter((line) => line.includes('"code":"interrupted"'));
    expect(handedOver.length).toBeGreaterThan(0);
  });
});
