import { afterEach, describe, expect, it } from "vitest";
import { systemClock } from "#regional/adapters/system-clock.ts";
import type { ProbeReport } from "#regional/backends/capabilities.ts";
import { createOpenAiCompatible } from "#regional/backends/openai-compatible.ts";
import { createShardLookup } from "#regional/backends/shard-lookup.ts";
import type { Engine, EngineCall } from "#regional/ports/engine.ts";
import { createCacheSalt } from "#regional/adapters/cache-salt.ts";
import type { StatedAbilities } from "#shared/config/engine-abilities.ts";
import type { Clock } from "#regional/ports/clock.ts";
import { HandClock } from "#test/support/hand-clock.ts";
import { describeAbilities } from "#shared/engines/settle-abilities.ts";
import type { JsonObject } from "#shared/protocol/json.ts";
import type { ShardId } from "#shared/residency/brands.ts";
import { dialectAbilities } from "#dev/simulated-engine/http/dialect.ts";
import { addFault, anEngine, model, requestsOf } from "../simulated-engine/support.ts";

const salt = createCacheSalt("ab".repeat(32));
let brokenSalt = false;
let open: Engine[] = [];

afterEach(() => {
  for (const engine of open.splice(0)) engine.close();
  open = [];
});

interface Server {
  readonly url: string;
  readonly origin: string;
}

/** The backend of a server, with what its probes reported. */
function aBackend(server: Server, stated: StatedAbilities = {}, clock: Clock = systemClock) {
  const reports: ProbeReport[] = [];
  const engine = createOpenAiCompatible({
    shard: "eu-west-1a/s-0" as ShardId,
    url: server.url,
    credentials: {},
    engineModel: model,
    stated,
    onProbed: (report) => reports.push(report),
    cacheSalt: (...of) => (brokenSalt ? "" : salt(...of)),
    clock,
    lookup: createShardLookup({ allowsPrivate: true, onRefused: () => {} }),
    onLoad: () => {},
  });
  open.push(engine);
  return { engine, reports };
}

async function prompt(engine: Engine, changes: Partial<EngineCall> = {}) {
  const call: EngineCall = {
    path: "chat/completions",
    body: { messages: [{ role: "user", content: "[[tokens:3]]" }] },
    tenant: "acme",
    jurisdiction: "eu",
    affinityKey: "k",
    priority: "batch",
    requestId: "req_1",
    traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    ...changes,
  };
  const sink = { events: () => {}, document: () => {}, room: () => null };
  return engine.run(call, sink, new AbortController().signal);
}

/** The bodies of the prompts that were not questions of a probe. */
async function promptsOf(server: Server): Promise<JsonObject[]> {
  const bodies = (await requestsOf(server)).map(({ body }) => body as JsonObject);
  return bodies.filter((body) => JSON.stringify(body ?? {}).includes("[[tokens:3]]"));
}

const names = dialectAbilities.map((name) => (name === "metrics" ? "metrics=vllm" : name));

function without(lost: readonly string[]): string[] {
  // Priorities are vLLM's only where the metrics are.
  const all = lost.includes("metrics=vllm") ? [...lost, "priority"] : lost;
  return names.filter((name) => !all.includes(name)).toSorted();
}

describe("a server's abilities", () => {
  it("are all found where they all are", async () => {
    const server = await anEngine();
    const { engine, reports } = aBackend(server);
    expect(await prompt(engine)).toBeNull();
    const [report] = reports;
    expect(report?.source).toBe("probed");
    expect(report && describeAbilities(report.abilities).split(" ").toSorted()).toEqual(
      without([]),
    );
    expect(engine.continuationAbility()).toBe("tokens");
    const [body] = await promptsOf(server);
    expect(body).toMatchObject({
      cache_salt: salt("acme", "eu", model),
      return_token_ids: true,
      stream_options: { include_usage: true },
      priority: 3,
    });
  });

  const dialects = dialectAbilities.flatMap((ability) => [
    [ability, false] as const,
    [ability, true] as const,
  ]);
  it.each(dialects)("are found to be without %s, refused: %s", async (ability, isStrict) => {
    const server = await anEngine({ without: [ability], isStrict });
    const { engine, reports } = aBackend(server);
    expect(await prompt(engine)).toBeNull();
    const lost = ability === "metrics" ? "metrics=vllm" : ability;
    expect(reports).toHaveLength(1);
    expect(reports[0]?.source).toBe("probed");
    expect(describeAbilities(engine.abilities().abilities).split(" ").toSorted()).toEqual(
      without([lost]),
    );
    const [body] = await promptsOf(server);
    const field = {
      tokenIds: "return_token_ids",
      continueFinalMessage: "continue_final_message",
      cacheSalt: "cache_salt",
      priority: "priority",
      usageInStream: "stream_options",
      loadHeader: "none",
      metrics: "priority",
    }[ability];
    expect(body).not.toHaveProperty(field);
  });

  it("of a server with OpenAI's API alone that refuses all else are none, and prompts succeed", async () => {
    const server = await anEngine({ without: [...dialectAbilities], isStrict: true });
    const { engine } = aBackend(server);
    expect(await prompt(engine)).toBeNull();
    expect(describeAbilities(engine.abilities().abilities)).toBe("none");
    expect(engine.continuationAbility()).toBe("none");
    expect(Object.keys((await promptsOf(server))[0] ?? {}).toSorted()).toEqual([
      "messages",
      "model",
      "stream",
    ]);
  });

  it.each([
    "html",
    "garbage",
    "bad-json",
    "clean-end",
    "error-chunk",
    "wrong-content-type",
  ] as const)("are not proven by answers with %s", async (kind) => {
    const server = await anEngine();
    await addFault(server, { kind });
    const { engine } = aBackend(server);
    await engine.probe(1_000);
    await expect.poll(() => engine.abilities().source).not.toBe("unknown");
    // A right answer under a wrong name is a right answer; what a refusal proves does not hang on its form.
    const proven = describeAbilities(engine.abilities().abilities);
    if (kind !== "wrong-content-type") {
      expect(proven).not.toContain("tokenIds");
      expect(proven).not.toContain("continueFinalMessage");
    }
  });

  it.each(["status-500", "status-429", "cut", "refuse"] as const)(
    "are not believed in while it answers with %s",
    async (kind) => {
      const server = await anEngine();
      await addFault(server, { kind });
      const { engine, reports } = aBackend(server);
      await engine.probe(1_000);
      await expect.poll(() => reports.length).toBe(1);
      expect(reports[0]?.source).toBe("partly");
      expect(engine.continuationAbility()).toBe("none");
      expect(engine.abilities().abilities.cacheSalt).toBe(false);
    },
  );

  it.each([
    ["a redirect", true],
    ["a refusal of a field that it had taken", false],
  ])("are asked for again after %s", async (_what, isRedirect) => {
    const server = await anEngine();
    const clock = new HandClock();
    const { engine } = aBackend(server, {}, clock);
    await prompt(engine);
    const once = (await requestsOf(server)).length;
    clock.move(60_000);
    if (isRedirect) await addFault(server, { kind: "redirect", count: 1 });
    // A salt that is refused stands for an engine that has changed.
    brokenSalt = !isRedirect;
    expect(await prompt(engine)).not.toBeNull();
    brokenSalt = false;
    await expect.poll(async () => (await requestsOf(server)).length).toBeGreaterThan(once + 5);
  });

  it("are not asked for again after a refusal that is the client's own fault", async () => {
    const server = await anEngine();
    const clock = new HandClock();
    const { engine } = aBackend(server, {}, clock);
    await prompt(engine);
    const once = (await requestsOf(server)).length;
    clock.move(60_000);
    const failure = await prompt(engine, { body: { messages: [] } });
    expect(failure?.reason).toBe("clientFault");
    await prompt(engine);
    expect((await requestsOf(server)).length).toBe(once + 2);
  });

  it("that are stated are not asked for", async () => {
    const server = await anEngine({ without: ["cacheSalt"] });
    const { engine } = aBackend(server, { cacheSalt: true, tokenIds: false });
    expect(await prompt(engine)).toBeNull();
    const asked = JSON.stringify(await requestsOf(server));
    expect(asked).not.toContain("meridian-ability-probe");
    expect((await promptsOf(server))[0]).toMatchObject({
      cache_salt: salt("acme", "eu", model),
    });
    expect(engine.continuationAbility()).toBe("text");
  });

  it.each([true, false])(
    "decide whether a prompt asks for the load header: %s",
    async (loadHeader) => {
      const server = await anEngine();
      const { engine } = aBackend(server, { loadHeader });
      await prompt(engine);
      const asked = (await requestsOf(server)).find(({ body }) =>
        JSON.stringify(body ?? {}).includes("[[tokens:3]]"),
      );
      expect("endpoint-load-metrics-format" in (asked?.headers ?? {})).toBe(loadHeader);
    },
  );

  it("without metrics have none asked for", async () => {
    const server = await anEngine();
    const { engine } = aBackend(server, { metrics: "none" });
    await prompt(engine);
    expect(await engine.load?.(1_000)).toBe("none");
    expect((await requestsOf(server)).map(({ path }) => path)).not.toContain("/metrics");
  });

  it("are asked for in few tokens and without a word of a tenant", async () => {
    const server = await anEngine();
    const { engine } = aBackend(server);
    await prompt(engine);
    const asked = (await requestsOf(server)).filter(
      ({ body }) => body !== undefined && !JSON.stringify(body).includes("[[tokens:3]]"),
    );
    const generations = asked.filter(({ path }) => path.includes("completions"));
    expect(generations.length).toBeGreaterThan(5);
    expect(generations.length).toBeLessThanOrEqual(10);
    for (const { body, endedAtMs, tokens } of generations) {
      expect(tokens).toBeLessThanOrEqual(2);
      expect(JSON.stringify(body)).not.toContain("acme");
      // One at a time: each began after the one before it had ended.
      expect(endedAtMs).not.toBeNull();
    }
    for (const [index, one] of generations.entries()) {
      const before = generations[index - 1];
      if (before !== undefined)
        expect(one.startedAtMs).toBeGreaterThanOrEqual(before.endedAtMs ?? Infinity);
    }
  });
});

describe("an engine is called", () => {
  it("at the paths of the list and no others", async () => {
    const server = await anEngine();
    const { engine } = aBackend(server);
    await engine.probe(1_000);
    await prompt(engine);
    await prompt(engine, { path: "completions", body: { prompt: "[[tokens:3]]" } });
    await prompt(engine, { path: "embeddings", body: { input: "x" } });
    await engine.load?.(1_000);
    const paths = new Set((await requestsOf(server)).map(({ path }) => path));
    expect([...paths].toSorted()).toEqual([
      "/health",
      "/metrics",
      "/v1/chat/completions",
      "/v1/completions",
      "/v1/embeddings",
      "/v1/models",
      "/version",
    ]);
  });

  it("with another salt for each tenant, and the same one on every turn", async () => {
    const server = await anEngine();
    const { engine } = aBackend(server);
    for (const tenant of ["acme", "globex", "acme"]) await prompt(engine, { tenant });
    const salts = (await promptsOf(server)).map((body) => body["cache_salt"]);
    expect(salts[0]).toMatch(/^[0-9a-f]{64}$/);
    expect(salts[0]).toBe(salts[2]);
    expect(salts[0]).not.toBe(salts[1]);
  });
});
