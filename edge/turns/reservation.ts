import { costMicroUsd } from "#shared/budget/cost.ts";
import type { LimitState } from "#shared/budget/rpc.ts";
import type { ModelDescription } from "#shared/config/topology.ts";
import type { TurnOutcome } from "#shared/protocol/internal/turn-outcome.ts";
import type { EdgeDeps } from "../ports.ts";
import type { RequestFacts } from "../request-facts.ts";
import type { PreparedTurn } from "./prepared-turn.ts";

/**
 * Tokens reserved per choice when the client set no maximum and only a rate is limited: a rate is a quota, settled by
 * what was used, and the whole context of a model would refuse a tenant's second request.
 */
const completionTokensAssumed = 4_096;
/** A reservation outlives the deadline by this, ms: the settlement is sent after the end. */
const settlementGraceMs = 60_000;

/** A request refused by the tenant's limits. */
export interface LimitRefusal {
  readonly kind: "refused";
  readonly error: Parameters<typeof import("./prepared-turn.ts").throwRefusal>[0];
  readonly headers: Readonly<Record<string, string>>;
}

/** What was reserved for a request, and how it is given back. */
export interface Reservation {
  readonly kind: "reserved";
  /** Null when the tenant has no limits, and nothing was reserved. */
  readonly id: string | null;
  /** RateLimit headers of the answer. */
  readonly headers: Readonly<Record<string, string>>;
  /** Replaces the reservation by what was used; in the background, once. */
  readonly settle: (used: Used) => void;
}

/** What a turn used, as far as is known. */
export type Used =
  | { readonly kind: "outcome"; readonly outcome: TurnOutcome }
  /** The client went before the cell could count: the prompt and the frames that were relayed. */
  | { readonly kind: "frames"; readonly count: number }
  | { readonly kind: "nothing" };

const openAiNames = { requests: "requests", tokens: "tokens" } as const;

/** Headers of draft-ietf-httpapi-ratelimit-headers-10, and OpenAI's `x-ratelimit-*` for requests and tokens. */
export function rateLimitHeaders(states: readonly LimitState[]): Record<string, string> {
  if (states.length === 0) return {};
  const headers: Record<string, string> = {
    "ratelimit-policy": states
      .map(({ name, quota, windowSeconds }) => {
        const unit = name === "requests" || name === "concurrent" ? "requests" : name;
        return `"${name}";q=${quota};qu="${unit}";w=${windowSeconds}`;
      })
      .join(", "),
    ratelimit: states
      .map(({ name, remaining, resetSeconds }) => `"${name}";r=${remaining};t=${resetSeconds}`)
      .join(", "),
  };
  for (const { name, quota, remaining, resetSeconds } of states) {
    if (!Object.hasOwn(openAiNames, name)) continue;
    headers[`x-ratelimit-limit-${name}`] = String(quota);
    headers[`x-ratelimit-remaining-${name}`] = String(remaining);
    headers[`x-ratelimit-reset-${name}`] = `${resetSeconds}s`;
  }
  return headers;
}

/** The most that the answer can have, over all choices. */
function completionTokensMax(prepared: PreparedTurn, hasBudget: boolean): number {
  const { api, generation, model } = prepared;
  if (api === "embeddings") return 0;
  // The context is shared by prompt and answer; a budget must hold even when the model uses all of it.
  const rest = Math.max(0, model.contextTokensMax - generation.promptTokensEstimate);
  const assumed = hasBudget ? rest : Math.min(rest, completionTokensAssumed);
  return (generation.completionTokensMax ?? assumed) * generation.choices;
}

function tokensOf(prepared: PreparedTurn, used: Used): { prompt: number; completion: number } {
  switch (used.kind) {
    case "outcome": {
      const { promptTokens, completionTokens } = used.outcome.usage;
      return { prompt: promptTokens, completion: completionTokens };
    }
    case "frames":
      return { prompt: prepared.generation.promptTokensEstimate, completion: used.count };
    case "nothing":
      return { prompt: 0, completion: 0 };
  }
}

/** The model whose price is charged: the one that answered, which a smaller one may have (docs/degradation.md). */
function answeredBy(facts: RequestFacts, prepared: PreparedTurn, used: Used): ModelDescription {
  const answered = used.kind === "outcome" ? used.outcome.model : undefined;
  return facts.jurisdiction.models.get(answered ?? "") ?? prepared.model;
}

/**
 * Reserves what the request may cost at most, where the tenant has limits; without limits no object is asked. Fails
 * closed: a ledger that cannot be reached refuses (ObjectUnavailableError).
 */
export async function reserve(
  deps: EdgeDeps,
  facts: RequestFacts,
  prepared: PreparedTurn,
  reservationId: string,
): Promise<Reservation | LimitRefusal> {
  const { tenant, jurisdiction } = facts;
  const { limits } = tenant;
  if (Object.values(limits).every((limit) => limit === undefined)) {
    return { kind: "reserved", id: null, headers: {}, settle: () => undefined };
  }
  const hasBudget =
    limits.budgetMicroUsdPerDay !== undefined || limits.budgetMicroUsdPerMonth !== undefined;
  const prompt = prepared.generation.promptTokensEstimate;
  const result = await deps.ledger.reserve({
    tenant: tenant.id,
    jurisdiction: jurisdiction.id,
    reservationId,
    tokens: prompt + completionTokensMax(prepared, false),
    costMicroUsd: costMicroUsd(prepared.model, {
      prompt,
      completion: completionTokensMax(prepared, hasBudget),
    }),
    limits,
    expiresAtMs: facts.deadlineMs + settlementGraceMs,
  });
  const headers = rateLimitHeaders(result.states);
  if (result.kind === "refused") return { kind: "refused", error: result.error, headers };
  let isSettled = false;
  const settle = (used: Used): void => {
    if (isSettled) return;
    isSettled = true;
    const tokens = tokensOf(prepared, used);
    facts.waitUntil(
      deps.ledger.settle({
        tenant: tenant.id,
        jurisdiction: jurisdiction.id,
        reservationId,
        tokens: tokens.prompt + tokens.completion,
        costMicroUsd: costMicroUsd(answeredBy(facts, prepared, used), tokens),
      }),
    );
  };
  return { kind: "reserved", id: reservationId, headers, settle };
}
