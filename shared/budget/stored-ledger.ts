import { plainKeyId } from "../config/limits.ts";
import type { Reservation } from "./ledger.ts";
import { emptyScope } from "./scope.ts";
import type { ScopeState } from "./scope.ts";

/** A scope's row. */
export function parseScope(text: string): ScopeState {
  return JSON.parse(text) as ScopeState;
}

/** A reservation's row. Those of version 1 name no key and no slots: there was one key, and its rate is not corrected. */
export function parseReservation(text: string): Reservation {
  const parsed = JSON.parse(text) as Partial<Reservation> & Pick<Reservation, "id">;
  const { id, keyId = plainKeyId, tokens = 0, costMicroUsd = 0, expiresAtMs = 0 } = parsed;
  const { slots = { tenant: -1, key: -1 } } = parsed;
  return { id, keyId, tokens, costMicroUsd, slots, expiresAtMs };
}

/** The state that version 1 kept of a tenant: sums of money, and counts by the second of the last minute. */
interface StateV1 {
  readonly seconds: readonly { readonly requests: number; readonly tokens: number }[];
  readonly day: string;
  readonly dayMicroUsd: number;
  readonly month: string;
  readonly monthMicroUsd: number;
}

/** The tenant's scope from version 1's row. What was admitted in its last minute counts as admitted now. */
export function scopeOfV1(text: string, open: readonly Reservation[], nowMs: number): ScopeState {
  const { seconds, ...spending } = JSON.parse(text) as StateV1;
  const { day, dayMicroUsd, month, monthMicroUsd } = spending;
  const sum = (values: readonly number[]): number => values.reduce((all, value) => all + value, 0);
  return {
    ...emptyScope,
    window: {
      nextSlot: 1,
      slots: [
        {
          fromSlot: 0,
          toSlot: 0,
          fromMs: nowMs,
          lastMs: nowMs,
          requests: sum(seconds.map(({ requests }) => requests)),
          tokens: sum(seconds.map(({ tokens }) => tokens)),
        },
      ],
    },
    spending: { day, dayMicroUsd, month, monthMicroUsd },
    openCount: open.length,
    reservedMicroUsd: sum(open.map(({ costMicroUsd }) => costMicroUsd)),
  };
}
