import { describe, expect, it } from "vitest";
import { createCapabilities } from "#regional/backends/capabilities.ts";
import type { ProbeReport } from "#regional/backends/capabilities.ts";
import { plainAbilities, vllmAbilities } from "#shared/config/engine-abilities.ts";
import type { StatedAbilities } from "#shared/config/engine-abilities.ts";
import type { ProbeAnswer } from "#shared/engines/probe-answer.ts";
import type { Question, QuestionId } from "#shared/engines/probe-question.ts";
import { HandClock } from "#test/support/hand-clock.ts";

/** A stream of a chat that ends with its usage. */
const withUsage = [
  { choices: [{ index: 0, delta: { content: "one" }, finish_reason: "length" }] },
  { choices: [], usage: { prompt_tokens: 3, completion_tokens: 2 } },
]
  .map((event) => `data: ${JSON.stringify({ id: "x", object: "c", model: "m", ...event })}\n\n`)
  .concat("data: [DONE]\n\n")
  .join("");

/** A server whose answers a test decides; it knows `cache_salt` and nothing else. */
class Server {
  readonly asked: QuestionId[] = [];
  version = "1";
  isThere = true;
  isFull = false;
  knowsSalt = true;
  tellsUsage = false;
  /** Whether answers wait until `release`. */
  isHeld = false;
  #waiting: (() => void)[] = [];

  async ask({ id }: Question): Promise<ProbeAnswer | null> {
    this.asked.push(id);
    if (this.isHeld) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    if (!this.isThere) return null;
    const answer = (status: number, value: unknown = {}): ProbeAnswer => ({
      status,
      loadHeader: null,
      text: JSON.stringify(value),
    });
    if (id === "models") return answer(200, { data: [{ id: "m" }] });
    if (id === "version") return answer(200, { version: this.version });
    if (id === "metrics") return answer(404);
    if (this.isFull) return answer(429);
    if (id === "stream" && this.tellsUsage)
      return { status: 200, loadHeader: null, text: withUsage };
    return answer(id === "saltRefused" && this.knowsSalt ? 400 : 200);
  }
  releaseOne(): void {
    this.#waiting.shift()?.();
  }
  release(): void {
    this.isHeld = false;
    for (const resolve of this.#waiting.splice(0)) resolve();
  }
  generations(): number {
    return this.asked.filter((id) => !["models", "version", "metrics"].includes(id)).length;
  }
}

function aServer(stated: StatedAbilities = {}) {
  const server = new Server();
  const clock = new HandClock();
  const reports: ProbeReport[] = [];
  const capabilities = createCapabilities({
    stated,
    engineModel: "m",
    ask: (question) => server.ask(question),
    clock,
    onReport: (report) => reports.push(report),
  });
  return { server, clock, reports, capabilities };
}

const salted = { ...plainAbilities, cacheSalt: true, usageInStream: false };

describe("what a server can do", () => {
  it("is asked once before the first prompt, one question at a time", async () => {
    const { capabilities, reports, server } = aServer();
    server.isHeld = true;
    const both = Promise.all([capabilities.current(), capabilities.current()]);
    expect(server.asked).toEqual(["models"]);
    server.release();
    expect(await both).toEqual([salted, salted]);
    const count = server.asked.length;
    await capabilities.current();
    await capabilities.seen(true);
    expect(new Set(server.asked).size).toBe(count);
    expect(reports).toEqual([{ source: "probed", abilities: salted }]);
  });

  it("is waited for four seconds, and then done without", async () => {
    const { capabilities, clock, server } = aServer();
    server.isHeld = true;
    let found: unknown = null;
    const asked = capabilities.current().then((abilities) => void (found = abilities));
    clock.move(3_999);
    await Promise.resolve();
    expect(found).toBeNull();
    clock.move(1);
    await asked;
    expect(found).toEqual(plainAbilities);
  });

  it("is not asked where all of it is stated", async () => {
    const { capabilities, reports, server } = aServer({ ...vllmAbilities, metrics: "vllm" });
    expect(await capabilities.current()).toEqual(vllmAbilities);
    await capabilities.seen(true);
    capabilities.doubt();
    expect(server.asked).toEqual([]);
    expect(reports).toEqual([]);
    expect(capabilities.known().source).toBe("stated");
  });

  it("is believed as long as the same server answers, which costs no generation", async () => {
    const { capabilities, clock, server } = aServer();
    await capabilities.seen(true);
    const before = server.generations();
    for (let minute = 0; minute < 30; minute += 1) {
      clock.move(60_000);
      await capabilities.seen(true);
    }
    expect(server.generations()).toBe(before);
    expect(server.asked.filter((id) => id === "models")).toHaveLength(7);
  });

  it("is asked anew of another version, and nothing of the old one is used meanwhile", async () => {
    const { capabilities, clock, reports, server } = aServer();
    await capabilities.seen(true);
    server.version = "2";
    server.knowsSalt = false;
    server.isFull = true;
    clock.move(300_000);
    server.isHeld = true;
    const asked = capabilities.seen(true);
    for (const id of ["models", "version", "metrics", "stream"]) {
      await expect.poll(() => server.asked.at(-1)).toBe(id);
      if (id !== "stream") server.releaseOne();
    }
    expect(capabilities.known()).toEqual({ abilities: plainAbilities, source: "unknown" });
    server.release();
    await asked;
    expect(capabilities.known()).toEqual({ abilities: plainAbilities, source: "partly" });
    server.isFull = false;
    clock.move(60_000);
    await capabilities.seen(true);
    expect(capabilities.known().abilities.cacheSalt).toBe(false);
    expect(reports.map(({ source }) => source)).toEqual(["probed", "partly", "probed"]);
  });

  it("is asked again when a server comes back, and once a minute at the most", async () => {
    const { capabilities, clock, server } = aServer();
    await capabilities.seen(true);
    const once = server.generations();
    for (let flap = 0; flap < 20; flap += 1) {
      clock.move(1_000);
      await capabilities.seen(false);
      await capabilities.seen(true);
    }
    expect(server.generations()).toBe(once);
    clock.move(60_000);
    await capabilities.seen(true);
    expect(server.generations()).toBe(2 * once);
  });

  it("holds while a server that has come back is asked again, once it is known to be the same", async () => {
    const { capabilities, clock, server } = aServer();
    await capabilities.seen(true);
    clock.move(60_000);
    await capabilities.seen(false);
    server.isHeld = true;
    const back = capabilities.seen(true);
    let found: unknown = null;
    const asked = capabilities.current().then((abilities) => void (found = abilities));
    for (const id of ["models", "version", "metrics"]) {
      expect(found).toBeNull();
      await expect.poll(() => server.asked.at(-1)).toBe(id);
      server.releaseOne();
    }
    await asked;
    expect(found).toEqual(salted);
    server.release();
    await back;
  });

  it("is asked again after a refusal that was not expected", async () => {
    const { capabilities, clock, server } = aServer();
    await capabilities.seen(true);
    const once = server.generations();
    server.knowsSalt = false;
    clock.move(60_000);
    capabilities.doubt();
    await capabilities.seen(true);
    expect(capabilities.known().abilities.cacheSalt).toBe(false);
    expect(server.generations()).toBeGreaterThan(once);
  });

  it("keeps a salt that was proven while the same server is too full to prove it again", async () => {
    const { capabilities, clock, server } = aServer();
    await capabilities.seen(true);
    clock.move(60_000);
    server.isFull = true;
    await capabilities.seen(false);
    await capabilities.seen(true);
    expect(capabilities.known()).toEqual({ abilities: salted, source: "partly" });
  });

  it("is asked every ten seconds of a server that does not list its models, and told once", async () => {
    const { capabilities, clock, reports, server } = aServer();
    server.isThere = false;
    for (let second = 0; second < 40; second += 2) {
      await capabilities.seen(true);
      clock.move(2_000);
    }
    expect(server.asked).toEqual(["models", "models", "models", "models"]);
    expect(reports).toEqual([{ source: "unknown", abilities: plainAbilities }]);
    expect(await capabilities.current()).toEqual(plainAbilities);
  });
});

describe("a server whose whole answer had no usage", () => {
  const telling = { ...salted, usageInStream: true };

  it("is not taken to tell any, until a probe shows that it does", async () => {
    const { capabilities, clock, reports, server } = aServer();
    server.tellsUsage = true;
    await capabilities.seen(true);
    expect(capabilities.known()).toEqual({ abilities: telling, source: "probed" });
    const once = server.generations();
    capabilities.missedUsage();
    expect(capabilities.known()).toEqual({ abilities: salted, source: "partly" });
    // What was found a moment ago is not asked again at once, however many answers lack it.
    capabilities.missedUsage();
    await capabilities.current();
    expect(server.generations()).toBe(once);
    clock.move(60_000);
    await capabilities.seen(true);
    expect(capabilities.known()).toEqual({ abilities: telling, source: "probed" });
    expect(reports.map(({ source }) => source)).toEqual(["probed", "partly", "probed"]);
  });

  it("stays without it when the probe finds none either", async () => {
    const { capabilities, clock, server } = aServer();
    server.tellsUsage = true;
    await capabilities.seen(true);
    server.tellsUsage = false;
    capabilities.missedUsage();
    clock.move(60_000);
    await capabilities.seen(true);
    expect(capabilities.known()).toEqual({ abilities: salted, source: "probed" });
  });

  it("is not asked for it either where nothing was found out yet", () => {
    const { capabilities, server } = aServer();
    server.isThere = false;
    capabilities.missedUsage();
    expect(capabilities.known()).toEqual({
      abilities: { ...plainAbilities, usageInStream: false },
      source: "unknown",
    });
  });

  it("tells it all the same where the topology says so", () => {
    const { capabilities, reports } = aServer({ usageInStream: true });
    capabilities.missedUsage();
    expect(capabilities.known().abilities.usageInStream).toBe(true);
    expect(reports).toEqual([]);
  });
});
