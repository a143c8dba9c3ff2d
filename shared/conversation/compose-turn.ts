import type { ModelDescription } from "../config/topology.ts";
import type { ErrorOutcome } from "../errors/gateway-error.ts";
import type { ItemRecord } from "../protocol/internal/turn-outcome.ts";
import type { EngineRequest, Rendering, TurnRequest } from "../protocol/internal/turn-request.ts";
import type { JsonObject } from "../protocol/json.ts";
import { itemsToMessages } from "../protocol/openai/items.ts";
import { truncateItems } from "../protocol/openai/truncate-items.ts";
import type { ConversationScope, TurnLease, TurnTemplate } from "./rpc.ts";

/** What of a template decides the engine's body. */
export interface BodyTemplate {
  readonly engine: Pick<EngineRequest, "body" | "promptTokensEstimate" | "completionTokensMax">;
  readonly rendering: Pick<Rendering, "api" | "echo">;
}

/** The engine's body for a history, or why it cannot be asked. */
export type EngineBodyResult =
  | { readonly ok: true; readonly body: JsonObject; readonly promptTokensEstimate: number }
  | { readonly ok: false; readonly error: ErrorOutcome };

/**
 * The engine's body for a history: items become messages, instructions first; where the client allowed it, the oldest
 * items are left out so that the rest fits the model's context. The same in the Worker and in the object.
 */
export function composeEngineBody(
  template: BodyTemplate,
  items: readonly ItemRecord[],
  model: Pick<ModelDescription, "contextTokensMax">,
): EngineBodyResult {
  const { engine, rendering } = template;
  const { api, echo } = rendering;
  if (api === "completions" || api === "embeddings") {
    return { ok: true, body: engine.body, promptTokensEstimate: engine.promptTokensEstimate };
  }
  const { instructions, truncation } = echo;
  const fitted = truncateItems(items, truncation === "auto" ? "auto" : "disabled", 0, {
    contextTokensMax: model.contextTokensMax,
    completionTokensMax: engine.completionTokensMax,
    param: api === "responses" ? "input" : "messages",
  });
  if (!fitted.ok) return fitted;
  const system = typeof instructions === "string" ? instructions : null;
  return {
    ok: true,
    body: { ...engine.body, messages: itemsToMessages(fitted.items, system) },
    promptTokensEstimate: fitted.promptTokensEstimate,
  };
}

/** Whose turn it is, and the request that its calls are traced by. */
export type TurnOwner = Pick<
  ConversationScope,
  "tenant" | "jurisdiction" | "conversationId" | "requestId"
>;

/** The request for the cell that a lease names, from what the object keeps of the turn. */
export function composeTurnRequest(
  template: TurnTemplate,
  lease: TurnLease,
  owner: TurnOwner,
  engine: { readonly body: JsonObject; readonly promptTokensEstimate: number },
): TurnRequest {
  return {
    v: 1,
    turnId: lease.turnId,
    lane: "durable",
    tenant: owner.tenant,
    jurisdiction: owner.jurisdiction,
    cell: lease.cell,
    conversationId: owner.conversationId,
    incarnation: lease.incarnation,
    attempt: lease.attempt,
    requestId: owner.requestId,
    priority: template.priority,
    deadlineMs: lease.deadlineMs,
    affinity: { homeShard: lease.homeShard, key: template.affinityKey },
    rendering: template.rendering,
    engine: {
      ...template.engine,
      body: engine.body,
      promptTokensEstimate: engine.promptTokensEstimate,
    },
    resume: lease.resume,
    hop: Math.min(16, lease.attempt - 1),
  };
}
