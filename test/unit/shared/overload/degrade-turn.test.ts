import { describe, it } from "vitest";
import { defaultDegradePolicy } from "#shared/overload/degrade-policy.ts";
import { degradeTurn } from "#shared/overload/degrade-turn.ts";
import type { DegradeInput } from "#shared/overload/degrade-turn.ts";
import { warmTokens } from "#shared/overload/warm-tokens.ts";
import type { TurnRequest } from "#shared/protocol/internal/turn-request.ts";
import { aTurn } from "./a-turn.ts";

const allowed: DegradeInput = {
  level: 2,
  tenant: { smallerModels: new Map([["big", "small"]]), historyCut: true },
  modelOf: () => ({ contextTokensMax: 100_000, isUsable: true }),
  cachedTokens: 0,
  lastCutTokens: null,
};

function degrade(turn: TurnRequest, changes: Partial<DegradeInput> = {}) {
  return degradeTurn(turn, { ...allowed, ...changes }, defaultDegradePolicy);
}

/** A conversation of `turns` exchanges of 2 × 500 tokens behind a system message of 100. */
function history(turns: number) {
  const text = "x".repeat(2_000);
  const exchange = [
    { role: "user", content: text },
    { role: "assistant", content: text },
  ];
  return {
    messages: [
      { role: "system", content: "s".repeat(400) },
      ...Array.from({ length: turns }, () => exchange).flat(),
      { role: "user", content: "last" },
    ],
  };
}

describe("a degraded turn", () => {
  it("is not changed below level 2, and the critical class at no level", ({ expect }) => {
    const turn = aTurn({}, history(40));
    expect(degrade(turn, { level: 1 })).toMatchObject({ actions: [], request: turn });
    const critical = aTurn({ priority: "critical" }, history(40));
    expect(degrade(critical, { level: 4 }).actions).toEqual([]);
  });

  it("has the smaller model, which its answer names and which forgets the home", ({ expect }) => {
    const affinity = { homeShard: "c/big-0" as never, key: "k" };
    const { request, actions } = degrade(aTurn({ affinity }));
    expect(actions).toContain("smallerModel");
    expect(request).toMatchObject({
      engine: { model: "small" },
      rendering: { model: "small" },
      affinity: { homeShard: null, key: "k" },
    });
  });

  it("has the smaller model by class: standard and batch from 2, interactive from 3", ({
    expect,
  }) => {
    const levelsOf = (priority: TurnRequest["priority"]) =>
      ([1, 2, 3, 4] as const).filter((level) =>
        degrade(aTurn({ priority }), { level }).actions.includes("smallerModel"),
      );
    expect(levelsOf("standard")).toEqual([2, 3, 4]);
    expect(levelsOf("batch")).toEqual([2, 3, 4]);
    expect(levelsOf("interactive")).toEqual([3, 4]);
    expect(levelsOf("critical")).toEqual([]);
  });

  const kept: readonly (readonly [string, TurnRequest, Partial<DegradeInput>])[] = [
    ["the tenant names none", aTurn(), { tenant: { smallerModels: new Map(), historyCut: false } }],
    ["the cell has none of it", aTurn(), { modelOf: () => null }],
    [
      "its shards cannot be used",
      aTurn(),
      { modelOf: () => ({ contextTokensMax: 1e6, isUsable: false }) },
    ],
    [
      "its context is too short",
      aTurn(),
      { modelOf: () => ({ contextTokensMax: 100, isUsable: true }) },
    ],
    [
      "vectors of another space were given",
      aTurn({ engine: { ...aTurn().engine, path: "embeddings" } }),
      {},
    ],
  ];
  for (const [name, turn, changes] of kept) {
    it(`keeps its model where ${name}`, ({ expect }) => {
      expect(degrade(turn, changes).request.engine.model).toBe("big");
    });
  }

  it("has a shorter answer, under the name that the client used", ({ expect }) => {
    const bodyOf = (turn: TurnRequest) => degrade(turn).request.engine;
    expect(bodyOf(aTurn())).toMatchObject({ body: { max_tokens: 512 }, completionTokensMax: 512 });
    const asked = aTurn({}, { max_completion_tokens: 2_000 });
    const engine = { ...asked.engine, completionTokensMax: 2_000 };
    expect(bodyOf({ ...asked, engine }).body).toMatchObject({ max_completion_tokens: 512 });
    expect(bodyOf(aTurn({ priority: "interactive" })).completionTokensMax).toBe(1_024);
    expect(bodyOf(aTurn({ priority: "batch" })).completionTokensMax).toBeNull();
  });

  it("is not given a longer answer than was asked for", ({ expect }) => {
    const asked = aTurn({}, { max_tokens: 5 });
    const turn = { ...asked, engine: { ...asked.engine, completionTokensMax: 5 } };
    expect(degrade(turn).request.engine).toMatchObject({ body: { max_tokens: 5 } });
  });

  it("loses the oldest of its history but no instruction, and begins with the user", ({
    expect,
  }) => {
    const turn = aTurn({}, history(20));
    const { request, actions, cutTokens } = degrade(turn);
    expect(actions).toContain("historyCut");
    const messages = request.engine.body["messages"] as { role: string; content: string }[];
    expect(messages[0]?.role).toBe("system");
    expect(messages[1]?.role).toBe("user");
    expect(messages.at(-1)?.content).toBe("last");
    const tokens = messages.reduce((sum, { content }) => sum + content.length / 4, 0);
    expect(tokens).toBeLessThanOrEqual(4_096);
    expect(tokens).toBeGreaterThan(2_000);
    expect((cutTokens ?? 0) % 1_024).toBe(0);
  });

  it("keeps its history where neither tenant nor request allow a cut", ({ expect }) => {
    const tenant = { ...allowed.tenant, historyCut: false };
    const turn = aTurn({}, history(20));
    expect(degrade(turn, { tenant }).actions).not.toContain("historyCut");
    const rendering = { ...turn.rendering, echo: { truncation: "auto" } };
    expect(degrade({ ...turn, rendering }, { tenant }).actions).toContain("historyCut");
  });

  it("keeps a history that its home has cached: a cut would compute more", ({ expect }) => {
    const home = { homeShard: "c/s" as never, key: "k" };
    const turn = aTurn({ affinity: home }, history(20));
    expect(degrade(turn, { cachedTokens: warmTokens(turn) }).actions).not.toContain("historyCut");
    // What was cut once is cached as it was cut.
    const { cutTokens } = degrade(turn);
    expect(
      degrade(turn, { cachedTokens: warmTokens(turn), lastCutTokens: cutTokens }).actions,
    ).toContain("historyCut");
  });

  it("is cut at the same border for some turns, so that its prefix stays cached", ({ expect }) => {
    const borders = Array.from({ length: 12 }, (_, index) => {
      const before = history(20 + index).messages.length;
      const { request } = degrade(aTurn({}, history(20 + index)));
      return before - (request.engine.body["messages"] as unknown[]).length;
    });
    const moves = borders.filter((border, index) => index > 0 && border !== borders[index - 1]);
    expect(moves.length).toBeGreaterThan(0);
    expect(moves.length).toBeLessThan(12);
    const small = Array.from({ length: 8 }, (_, index) => {
      const body = history(20);
      const extra = Array.from({ length: index }, () => [
        { role: "assistant", content: "y".repeat(200) },
        { role: "user", content: "z".repeat(200) },
      ]).flat();
      const messages = [...body.messages, ...extra];
      const { request } = degrade(aTurn({}, { messages }));
      return messages.length - (request.engine.body["messages"] as unknown[]).length;
    });
    expect(new Set(small).size).toBeLessThanOrEqual(2);
  });

  it("goes on with the model that began it, and is changed in nothing else", ({ expect }) => {
    const frame = (model: string): string => `id: 1\ndata: ${JSON.stringify({ model })}\n\n`;
    const resumed = (frames: string) =>
      degrade(aTurn({ resume: { frames, toSeq: 1, surplusTokens: 0, continuations: 1 } }), {
        level: 4,
      });
    expect(resumed(frame("small"))).toMatchObject({
      actions: [],
      request: { engine: { model: "small" }, rendering: { model: "small" } },
    });
    const response = `id: 1\nevent: response.created\ndata: {"response":{"model":"small"}}\n\n`;
    expect(resumed(response).request.engine.model).toBe("small");
    expect(resumed(frame("big")).request.engine.model).toBe("big");
    expect(resumed(frame("another")).request.engine.model).toBe("big");
    expect(resumed("id: 1\ndata: {\n\n").request.engine.model).toBe("big");
  });
});
