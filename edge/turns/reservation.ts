import { costMicroUsd } from "#shared/budget/cost.ts";
import { needOf } from "#shared/budget/need.ts";
import { rateLimitHeaders } from "#shared/budget/rate-limit-headers.ts";
import type { SettleInput } from "#shared/budget/rpc.ts";
import type { ModelDescription } from "#shared/config/topology.ts";
import type { ErrorOutcome } from "#shared/errors/gateway-error.ts";
import type { TurnOutcome } from "#shared/protocol/internal/turn-outcome.ts";
import type { EdgeDeps } from "../ports.ts";
import type { RequestFacts } from "../request-facts.ts";
import type { PreparedTurn } from "./prepared-turn.ts";

/** A reservation outlives the deadline by this, ms: the settlement is sent after the end. */
const settlementGraceMs = 60_000;

/** A request refused by the limits of its tenant or key. */
export interface LimitRefusal {
  readonly kind: "refused";
  readonly error: ErrorOutcome;
  readonly headers: Readonly<Record<string, string>>;
}

/** What was reserved for a request, and how it is given back. */
export interface Reservation {
  readonly kind: "reserved";
  /** Null when there is nothing to give back: a request rate is spent at once. */
  readonly id: string | null;
  /** RateLimit headers of the answer. */
  readonly headers: Readonly<Record<string, string>>;
  /** Replaces the reservation by what was used; in the background, once. */
  readonly settle: (used: Used) => void;
}

/** What a turn used, as far as is known. */
export type Used =
  | { readonly kind: "outcome"; readonly outcome: TurnOutcome }
  /** The cell was asked and its outcome never came: all that was reserved. */
  | { readonly kind: "unknown" }
  | { readonly kind: "nothing" };

/** The model whose price is charged: the one that answered, which a smaller one may have (docs/degradation.md). */
function answeredBy(facts: RequestFacts, prepared: PreparedTurn, used: Used): ModelDescription {
  const answered = used.kind === "outcome" ? used.outcome.model : undefined;
  return facts.jurisdiction.models.get(answered ?? "") ?? prepared.model;
}

function usedOf(facts: RequestFacts, prepared: PreparedTurn, used: Used): SettleInput["used"] {
  switch (used.kind) {
    case "outcome": {
      const { promptTokens: prompt, completionTokens: completion } = used.outcome.usage;
      return {
        tokens: prompt + completion,
        costMicroUsd: costMicroUsd(answeredBy(facts, prepared, used), { prompt, completion }),
      };
    }
    case "unknown":
      return "unknown";
    case "nothing":
      return { tokens: 0, costMicroUsd: 0 };
  }
}

/**
 * Reserves what the request may cost at most, in its tenant's and its key's limits with one call; without any limit no
 * object is asked. Fails closed: a ledger that cannot be reached refuses (ObjectUnavailableError).
 */
export async function reserve(
  deps: EdgeDeps,
  facts: RequestFacts,
  prepared: PreparedTurn,
  reservationId: string,
): Promise<Reservation | LimitRefusal> {
  const { tenant, key, jurisdiction } = facts;
  const limits = { tenant: tenant.limits, key: key.limits };
  const all = [limits.tenant, limits.key];
  if (all.every((each) => Object.values(each).every((limit) => limit === undefined))) {
    return { kind: "reserved", id: null, headers: {}, settle: () => undefined };
  }
  const { api, generation, model, bodyBytes, hasHistory } = prepared;
  const need = needOf(
    { ...generation, api, bodyBytes, hasHiddenParts: hasHistory || generation.hasImages },
    model,
  );
  const owner = { tenant: tenant.id, jurisdiction: jurisdiction.id, reservationId };
  const result = await deps.ledger.reserve({
    ...owner,
    keyId: key.id,
    ...need,
    limits,
    expiresAtMs: facts.deadlineMs + settlementGraceMs,
  });
  const headers = rateLimitHeaders(result.states);
  if (result.kind === "refused") return { kind: "refused", error: result.error, headers };
  if (!result.isHeld) return { kind: "reserved", id: null, headers, settle: () => undefined };
  let isSettled = false;
  const settle = (used: Used): void => {
    if (isSettled) return;
    isSettled = true;
    facts.waitUntil(deps.ledger.settle({ ...owner, used: usedOf(facts, prepared, used) }));
  };
  return { kind: "reserved", id: reservationId, headers, settle };
}
