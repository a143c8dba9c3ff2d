import type { TenantDegradation } from "../config/tenant-degradation.ts";
import type { EngineRequest, TurnRequest } from "../protocol/internal/turn-request.ts";
import type { JsonObject } from "../protocol/json.ts";
import { answeredModel } from "./answered-model.ts";
import { cutHistory } from "./cut-history.ts";
import type { DegradePolicy } from "./degrade-policy.ts";
import { savesPrefill } from "./history-border.ts";
import type { DegradationLevel } from "./level-policy.ts";

/** What was done to a turn: metric label and assertion. */
export type DegradeAction = "smallerModel" | "outputCap" | "historyCut";

/** A model of the cell. */
export interface CellModel {
  readonly contextTokensMax: number;
  /** Whether a shard of it may be used now. */
  readonly isUsable: boolean;
}

/** What a turn is degraded by. */
export interface DegradeInput {
  readonly level: DegradationLevel;
  readonly tenant: TenantDegradation;
  /** Null for a model that the cell has no shard of. */
  readonly modelOf: (model: string) => CellModel | null;
  /** Prompt tokens that the turn's home shard is thought to have cached of the whole history. */
  readonly cachedTokens: number;
  /** Tokens that the conversation's last cut took; null when it was not cut. */
  readonly lastCutTokens: number | null;
}

/** The turn as it is to run, and what was done to it. */
export interface DegradedTurn {
  readonly request: TurnRequest;
  readonly actions: readonly DegradeAction[];
  /** Of a cut history: what to remember for the conversation's next turn. */
  readonly cutTokens: number | null;
}

function withModel(request: TurnRequest, model: string): TurnRequest {
  return {
    ...request,
    // The home has another model's cache.
    affinity: { ...request.affinity, homeShard: null },
    rendering: { ...request.rendering, model },
    engine: { ...request.engine, model },
  };
}

/** The turn with the smaller model, where the level asks for it, the tenant allows it and the prompt fits it. */
function withSmallerModel(
  request: TurnRequest,
  { level, modelOf, tenant }: DegradeInput,
  policy: DegradePolicy,
): TurnRequest | null {
  const from = policy.smallerModelFrom[request.priority];
  const { completionTokensMax, model, path, promptTokensEstimate } = request.engine;
  const smaller = tenant.smallerModels.get(model);
  // Another model's embeddings are of another space.
  if (from === null || level < from || smaller === undefined || path === "embeddings") return null;
  const own = modelOf(smaller);
  const needed = promptTokensEstimate + (completionTokensMax ?? 0);
  if (own === null || !own.isUsable || needed > own.contextTokensMax) return null;
  return withModel(request, smaller);
}

/**
 * The turn with the tenant's smaller model while nothing of the model that was asked for runs: what is allowed of the class at any
 * level is allowed then. Null where it may not be, or runs neither. A begun answer is never changed.
 */
export function smallerWhileCold(
  request: TurnRequest,
  { modelOf, tenant }: Pick<DegradeInput, "modelOf" | "tenant">,
  policy: DegradePolicy,
): TurnRequest | null {
  if (request.resume !== null) return null;
  const input = { level: 4, tenant, modelOf, cachedTokens: 0, lastCutTokens: null } as const;
  return withSmallerModel(request, input, policy);
}

/** The engine's body with at most `most` tokens to a choice; null when it asks for no more already. */
function withOutputCap(engine: EngineRequest, most: number | null): EngineRequest | null {
  if (most === null || engine.path === "embeddings") return null;
  if (engine.completionTokensMax !== null && engine.completionTokensMax <= most) return null;
  const { max_tokens: older, max_completion_tokens: newer, ...rest } = engine.body;
  const name = newer !== undefined && older === undefined ? "max_completion_tokens" : "max_tokens";
  return { ...engine, body: { ...rest, [name]: most }, completionTokensMax: most };
}

function mayCut({ rendering, engine }: TurnRequest, tenant: TenantDegradation): boolean {
  const isAllowed = tenant.historyCut || rendering.echo["truncation"] === "auto";
  return isAllowed && engine.path === "chat/completions";
}

/**
 * The turn with a shorter history. Only where the cut saves prefill: a warm home computes little of a long history, and would
 * compute all that a cut leaves.
 */
function withShorterHistory(
  request: TurnRequest,
  input: DegradeInput,
  policy: DegradePolicy,
): { readonly request: TurnRequest; readonly cutTokens: number } | null {
  const most = policy.historyTokensMax[request.priority];
  const { messages } = request.engine.body;
  if (most === null || !Array.isArray(messages) || !mayCut(request, input.tenant)) return null;
  const cut = cutHistory(messages, most, most / policy.historySteps);
  if (cut === null) return null;
  if (!savesPrefill(cut, input)) return null;
  const body: JsonObject = { ...request.engine.body, messages: cut.messages };
  const promptTokensEstimate = Math.max(
    0,
    request.engine.promptTokensEstimate - (cut.tokensBefore - cut.tokensAfter),
  );
  return {
    request: { ...request, engine: { ...request.engine, body, promptTokensEstimate } },
    cutTokens: cut.targetTokens,
  };
}

/**
 * Makes a turn cheaper where the cell's level asks for it and tenant or request allow it: from level 2 on shorter answers and
 * histories and, by class, the smaller model. A begun answer is never changed: it goes on with the model that began it, which
 * its frames name. Pure; linear in the history.
 */
export function degradeTurn(
  request: TurnRequest,
  input: DegradeInput,
  policy: DegradePolicy,
): DegradedTurn {
  const { resume } = request;
  if (resume !== null) {
    const model = answeredModel(resume.frames);
    const isOther =
      model !== null && model === input.tenant.smallerModels.get(request.engine.model);
    const own = isOther ? withModel(request, model) : request;
    return { request: own, actions: [], cutTokens: null };
  }
  if (input.level < 2) return { request, actions: [], cutTokens: null };
  const actions: DegradeAction[] = [];
  let turn = request;
  const shorter = withShorterHistory(turn, input, policy);
  if (shorter !== null) {
    turn = shorter.request;
    actions.push("historyCut");
  }
  const engine = withOutputCap(turn.engine, policy.outputTokensMax[turn.priority]);
  if (engine !== null) {
    turn = { ...turn, engine };
    actions.push("outputCap");
  }
  const smaller = withSmallerModel(turn, input, policy);
  if (smaller !== null) {
    turn = smaller;
    actions.push("smallerModel");
  }
  return { request: turn, actions, cutTokens: shorter?.cutTokens ?? null };
}
