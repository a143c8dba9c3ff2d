import type { TurnRequest } from "#shared/protocol/internal/turn-request.ts";

/** A first chat turn of the standard class. */
export function aTurn(changes: Partial<TurnRequest> = {}, body: object = {}): TurnRequest {
  return {
    priority: "standard",
    resume: null,
    hop: 0,
    affinity: { homeShard: null, key: "k" },
    rendering: { model: "big", echo: {}, stream: true },
    engine: {
      path: "chat/completions",
      model: "big",
      body: { messages: [{ role: "user", content: "hi" }], ...body },
      promptTokensEstimate: 10,
      completionTokensMax: null,
    },
    ...changes,
  } as unknown as TurnRequest;
}
