import { isThrottled, parseThrottle } from "#shared/overload/throttle.ts";
import type { HeardThrottle } from "#shared/overload/throttle.ts";
import { throttleHeader } from "#shared/protocol/internal/stream.ts";
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

/** Cells and tenants whose word is remembered; past it the one longest without an answer is forgotten. About 200 bytes each. */
const heardMax = 5_000;

/**
 * Cells that are not sent what they would mostly refuse: each says in its answers which share of each class of the answered
 * tenant's to keep away. Only first attempts are kept away, and never what has begun. What is known lives in the isolate and
 * fades within 30 s.
 */
export function throttleCells(
  cells: CellClient,
  now: () => number,
  random: () => number,
): CellClient {
  const heard = new Map<string, HeardThrottle>();

  function remember(key: string, text: string | null): void {
    // Deleted first, so that the map's order is that of the last answers.
    heard.delete(key);
    if (text === null) return;
    heard.set(key, { ratios: parseThrottle(text), atMs: now() });
    if (heard.size <= heardMax) return;
    for (const oldest of heard.keys()) {
      heard.delete(oldest);
      return;
    }
  }

  return {
    ...cells,
    async startTurn(cell, request, call) {
      const key = `${cell.id} ${request.tenant}`;
      const known = heard.get(key);
      const isFirst = request.attempt === 1 && request.resume === null;
      if (known !== undefined && isFirst) {
        if (isThrottled(known, request.priority, now(), random())) return keptAway;
      }
      const answer = await cells.startTurn(cell, request, call);
      if (answer.kind === "unreachable") return answer;
      const text = answer.kind === "answer" ? answer.headers.get(throttleHeader) : answer.throttle;
      remember(key, text);
      return answer;
    },
  };
}
