import { isThrottled, parseThrottle } from "#shared/overload/throttle.ts";
import type { HeardThrottle } from "#shared/overload/throttle.ts";
import { throttleHeader } from "#shared/protocol/internal/stream.ts";
import type { CellId } from "#shared/residency/brands.ts";
import type { CellAnswer, CellClient } from "../ports.ts";

/** Retry-After of a turn that is not sent, ms. */
const retryAfterMs = 5_000;

const keptAway: CellAnswer = {
  kind: "refused",
  error: {
    code: "saturated",
    message: "The service is too busy for requests of this priority. Try again shortly.",
    retryAfterMs,
  },
  // Another cell may have room.
  mayMove: true,
  shard: null,
  level: null,
  throttle: null,
};

/**
 * Cells that are not sent what they would mostly refuse: each says in its answers which share of each class to keep away. Only
 * first attempts are kept away, and never what has begun. What is known lives in the isolate and fades within 30 s.
 */
export function throttleCells(
  cells: CellClient,
  now: () => number,
  random: () => number,
): CellClient {
  const heard = new Map<CellId, HeardThrottle>();
  return {
    ...cells,
    async startTurn(cell, request, call) {
      const known = heard.get(cell.id);
      const isFirst = request.attempt === 1 && request.resume === null;
      if (known !== undefined && isFirst) {
        if (isThrottled(known, request.priority, now(), random())) return keptAway;
      }
      const answer = await cells.startTurn(cell, request, call);
      if (answer.kind === "unreachable") return answer;
      const text = answer.kind === "answer" ? answer.headers.get(throttleHeader) : answer.throttle;
      if (text === null) heard.delete(cell.id);
      else heard.set(cell.id, { ratios: parseThrottle(text), atMs: now() });
      return answer;
    },
  };
}
