import { describe, expect, it } from "vitest";
import { composeEngineBody, composeTurnRequest } from "#shared/conversation/compose-turn.ts";
import { parseTurnRequest } from "#shared/protocol/internal/turn-request.ts";
import type { TurnLease } from "#shared/conversation/rpc.ts";
import { aScope, aTemplate, anItem, cellB, turnIdOf } from "#test/support/conversation-builders.ts";

const model = { contextTokensMax: 1_000 };

function aTemplateWith(echo: Record<string, string>, completionTokensMax: number | null = null) {
  const template = aTemplate();
  return {
    ...template,
    engine: { ...template.engine, body: { temperature: 0 }, completionTokensMax },
    rendering: { ...template.rendering, echo },
  };
}

const lease: TurnLease = {
  turnId: turnIdOf("aaaaaaaaaaaa"),
  incarnation: 3,
  attempt: 2,
  cell: cellB,
  homeShard: null,
  items: [],
  deadlineMs: 5_000,
  resume: { frames: "id: 1\ndata: x\n\n", toSeq: 1, surplusTokens: 0, continuations: 1 },
};

describe("a turn composed from what is stored of it", () => {
  it("asks with the instructions first and the history as messages", () => {
    const composed = composeEngineBody(
      aTemplateWith({ instructions: "Be short." }),
      [anItem("msg_1", "Hello")],
      model,
    );
    expect(composed).toMatchObject({
      ok: true,
      body: {
        temperature: 0,
        messages: [
          { role: "system", content: "Be short." },
          { role: "user", content: "Hello" },
        ],
      },
    });
  });

  it("leaves out the oldest items only where the client allowed it", () => {
    const items = [anItem("msg_1", "x".repeat(3_600)), anItem("msg_2", "y".repeat(1_600))];
    const refused = composeEngineBody(aTemplateWith({ truncation: "disabled" }), items, model);
    expect(refused).toMatchObject({ ok: false, error: { code: "context_length_exceeded" } });
    const cut = composeEngineBody(aTemplateWith({ truncation: "auto" }), items, model);
    expect(cut).toMatchObject({ ok: true, body: { messages: [{ content: "y".repeat(1_600) }] } });
  });

  it("keeps the body of an API that has no messages", () => {
    const template = aTemplateWith({});
    const completions = { ...template, rendering: { ...template.rendering, api: "completions" } };
    expect(composeEngineBody(completions as never, [], model)).toEqual({
      ok: true,
      body: { temperature: 0 },
      promptTokensEstimate: 10,
    });
  });

  it("is a request that a cell accepts, with the lease's fence and what the client was given", () => {
    const template = aTemplateWith({});
    const engine = { body: { messages: [] }, promptTokensEstimate: 7 };
    const request = composeTurnRequest(template, lease, aScope(), engine);
    expect(parseTurnRequest(JSON.parse(JSON.stringify(request)))).toMatchObject({
      ok: true,
      request: {
        incarnation: 3,
        attempt: 2,
        cell: cellB,
        hop: 1,
        resume: { toSeq: 1 },
        engine: { promptTokensEstimate: 7, body: { messages: [] } },
      },
    });
  });
});
