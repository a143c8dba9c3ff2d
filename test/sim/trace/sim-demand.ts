import { nextHome, noHome } from "#shared/routing/next-home.ts";
import type { Home } from "#shared/routing/next-home.ts";
import {
  expectOutputTokens,
  observeOutputLength,
  unseenOutputLength,
} from "#shared/routing/output-length.ts";
import type { OutputLength } from "#shared/routing/output-length.ts";
import type { PromptDemand } from "#shared/routing/shard-state.ts";
import type { ShardId } from "#shared/residency/brands.ts";
import type { Dispatch } from "./sim-cell.ts";
import { simJurisdiction, simModel } from "./sim-shard.ts";
import type { SimTurn } from "./sim-turn.ts";

/** What a cell has learnt of its tenants' answers and of where conversations are at home. */
export interface SimDemand {
  /** What the turn wants of a shard now; `excluded` are those that it may not get. */
  of(turn: SimTurn, ceiling: number, excluded?: readonly ShardId[]): PromptDemand;
  /** Length of the answer to expect, and to plan for, tokens. */
  expected(turn: SimTurn): { readonly expected: number; readonly p90: number };
  /** Whether a turn of its conversation was answered before. */
  isLater(turn: SimTurn): boolean;
  /** The turn was answered by the shard. */
  answered(turn: SimTurn, shard: ShardId, reason: Dispatch["reason"], nowMs: number): void;
}

/** Of a cell that has answered nothing yet. */
export function createSimDemand(): SimDemand {
  const lengths = new Map<number, OutputLength>();
  const homes = new Map<number, Home>();

  function expected({ arrival, outputTokensMax }: SimTurn) {
    return expectOutputTokens(lengths.get(arrival.tenant) ?? unseenOutputLength, outputTokensMax);
  }

  return {
    expected,
    of(turn, ceiling, excluded = turn.excluded) {
      const { arrival, base, inputTokens, model } = turn;
      const { session } = arrival.request;
      return {
        jurisdiction: simJurisdiction,
        model,
        inputTokens: inputTokens + base,
        outputTokens: expected(turn).expected,
        priority: arrival.priority,
        ceiling,
        // The home has another model's cache.
        homeShard: model === simModel ? (homes.get(session)?.shard ?? null) : null,
        affinityKey: session < 0 ? "" : `${session}`,
        excluded,
        allowed: null,
      };
    },
    isLater: ({ arrival }) => homes.get(arrival.request.session)?.shard !== undefined,
    answered({ arrival, model, outputTokens }, shard, reason, nowMs) {
      const { request, tenant } = arrival;
      const length = lengths.get(tenant) ?? unseenOutputLength;
      lengths.set(tenant, observeOutputLength(length, outputTokens));
      if (request.session < 0 || model !== simModel) return;
      const home = homes.get(request.session) ?? noHome;
      homes.set(request.session, nextHome(home, shard, reason === "spill" ? "once" : null, nowMs));
    },
  };
}
