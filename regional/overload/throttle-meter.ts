import {
  formatThrottle,
  newThrottleWindow,
  throttleRatios,
  withTurn,
} from "#shared/overload/throttle.ts";
import type { TurnRequest } from "#shared/protocol/internal/turn-request.ts";
import type { Clock } from "../ports/clock.ts";

/** Counts what a cell is asked for and takes, and says what should not be sent to it. */
export interface ThrottleMeter {
  /** A turn was dispatched for the first time. */
  taken(request: TurnRequest): void;
  /** A turn was refused because there is too much; a cell without any capacity is no reason to keep others away for minutes. */
  refused(request: TurnRequest): void;
  /** Value of the header for the edge; null where nobody is to be kept away. */
  header(): string | null;
}

/** The header is computed at most this often, ms: it tells of two minutes. */
const renewMs = 500;

/** The meter of one cell. */
export function createThrottleMeter(clock: Clock): ThrottleMeter {
  let window = newThrottleWindow();
  let header: string | null = null;
  let renewedAtMs = Number.NEGATIVE_INFINITY;
  return {
    taken({ priority, resume }) {
      // What another cell had begun is never refused and says nothing of new load.
      if (resume !== null) return;
      const nowMs = clock.nowMs();
      window = withTurn(withTurn(window, "asked", priority, nowMs), "taken", priority, nowMs);
    },
    refused({ priority, resume }) {
      if (resume === null) window = withTurn(window, "asked", priority, clock.nowMs());
    },
    header() {
      const nowMs = clock.nowMs();
      if (Math.abs(nowMs - renewedAtMs) < renewMs) return header;
      renewedAtMs = nowMs;
      header = formatThrottle(throttleRatios(window, nowMs));
      return header;
    },
  };
}
