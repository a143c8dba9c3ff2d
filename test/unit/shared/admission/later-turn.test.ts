import { describe, it } from "vitest";
import { isLaterTurn } from "#shared/admission/later-turn.ts";
import type { ConversationSigns } from "#shared/admission/later-turn.ts";
import type { JsonObject } from "#shared/protocol/json.ts";
import type { ShardId } from "#shared/residency/brands.ts";

function signs(body: JsonObject, homeShard: string | null = null): ConversationSigns {
  return {
    affinity: { homeShard: homeShard as ShardId | null, key: "k" },
    engine: {
      path: "chat/completions",
      model: "m",
      body,
      promptTokensEstimate: 1,
      completionTokensMax: null,
    },
  };
}

describe("a later turn", () => {
  it("has a home, or an answer in its prompt", ({ expect }) => {
    expect(isLaterTurn(signs({}, "a"))).toBe(true);
    const messages = [{ role: "user" }, { role: "assistant" }, { role: "user" }];
    expect(isLaterTurn(signs({ messages }))).toBe(true);
  });

  it("is not a first one, nor what has no messages or misshapen ones", ({ expect }) => {
    expect(isLaterTurn(signs({ messages: [{ role: "system" }, { role: "user" }] }))).toBe(false);
    expect(isLaterTurn(signs({ prompt: "assistant" }))).toBe(false);
    expect(isLaterTurn(signs({ messages: "assistant" }))).toBe(false);
    expect(isLaterTurn(signs({ messages: [null, "assistant", 7, []] }))).toBe(false);
  });
});
