import {
  formatThrottle,
  newThrottleWindow,
  throttleRatios,
  withTurn,
} from "#shared/overload/throttle.ts";
import type { ThrottleWindow } from "#shared/overload/throttle.ts";
import type { TurnRequest } from "#shared/protocol/internal/turn-request.ts";
import type { Clock } from "../ports/clock.ts";

/** Counts what a cell is asked for and takes of each tenant, and says what should not be sent to it. */
export interface ThrottleMeter {
  /** A turn was dispatched for the first time. */
  taken(request: TurnRequest): void;
  /** A turn was refused because there is too much; a cell without any capacity is no reason to keep others away for minutes. */
  refused(request: TurnRequest): void;
  /**
   * Value of the header for the edge, on an answer to a turn of the tenant; null where none of its turns is to be kept away.
   * Of each tenant its own: who floods a cell is kept away, and not those that it is taken from.
   */
  header(tenant: string): string | null;
}

/** The header is computed at most this often, ms: it tells of two minutes. */
const renewMs = 500;
/** Tenants that are counted; past it the one longest without a turn is forgotten. About 3 KB each. */
const tenantsMax = 1_000;

interface Counted {
  window: ThrottleWindow;
  header: string | null;
  renewedAtMs: number;
}

/** The meter of one cell. */
export function createThrottleMeter(clock: Clock): ThrottleMeter {
  const counted = new Map<string, Counted>();

  function countedOf(tenant: string): Counted {
    const known = counted.get(tenant) ?? {
      window: newThrottleWindow(),
      header: null,
      renewedAtMs: Number.NEGATIVE_INFINITY,
    };
    // Deleted first, so that the map's order is that of the last turns.
    counted.delete(tenant);
    counted.set(tenant, known);
    if (counted.size > tenantsMax) {
      for (const oldest of counted.keys()) {
        counted.delete(oldest);
        break;
      }
    }
    return known;
  }

  return {
    taken({ priority, resume, tenant }) {
      // What another cell had begun is never refused and says nothing of new load.
      if (resume !== null) return;
      const nowMs = clock.nowMs();
      const own = countedOf(tenant);
      own.window = withTurn(
        withTurn(own.window, "asked", priority, nowMs),
        "taken",
        priority,
        nowMs,
      );
    },
    refused({ priority, resume, tenant }) {
      if (resume !== null) return;
      const own = countedOf(tenant);
      own.window = withTurn(own.window, "asked", priority, clock.nowMs());
    },
    header(tenant) {
      const own = counted.get(tenant);
      if (own === undefined) return null;
      const nowMs = clock.nowMs();
      if (Math.abs(nowMs - own.renewedAtMs) < renewMs) return own.header;
      own.renewedAtMs = nowMs;
      own.header = formatThrottle(throttleRatios(own.window, nowMs));
      return own.header;
    },
  };
}
