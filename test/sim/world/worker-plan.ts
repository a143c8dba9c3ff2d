import type { ModelDescription } from "#shared/config/topology.ts";
import type { RelayPolicy } from "#shared/conversation/relay-state.ts";
import type { TurnTemplate } from "#shared/conversation/rpc.ts";
import type { Api } from "#shared/protocol/internal/turn-request.ts";
import { renderErrorFrames } from "#edge/turns/error-frames.ts";
import { modelId } from "./ids.ts";

/** The model that everybody asks for: a micro-dollar a token. */
export const simModel: ModelDescription = {
  id: modelId,
  revision: "1",
  contextTokensMax: 100_000,
  capabilities: [],
  priceMicroUsdPerMillionTokens: { input: 1_000_000, output: 1_000_000 },
};

/** Time that a request may take, ms. */
export const deadlineMs = 90_000;

/** As edge/turns/durable-lane.ts has them. */
export function relayPolicy(api: Api): RelayPolicy {
  return {
    checkpointIntervalMs: 1_000,
    checkpointBytes: 16 * 1024,
    failoversMax: 2,
    continuationsMax: 2,
    silenceMs: 10_000,
    heldBytesMax: 1024 * 1024,
    renderError: (error, fromSeq, isJournaled) =>
      renderErrorFrames(api, error, fromSeq, isJournaled),
  };
}

/** What the object keeps of a request. */
export function templateOf(
  api: Api,
  stream: boolean,
  publicId: string,
  itemIdStem: string,
  createdAtSeconds: number,
): TurnTemplate {
  return {
    engine: {
      path: "chat/completions",
      model: modelId,
      body: {},
      promptTokensEstimate: 10,
      completionTokensMax: null,
    },
    rendering: {
      api,
      stream,
      includeUsage: true,
      publicId,
      createdAtSeconds,
      model: modelId,
      itemIdStem,
      echo: {},
    },
    priority: "interactive",
    affinityKey: "key",
  };
}
