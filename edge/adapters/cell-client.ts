import * as z from "zod";
import type { CellDescription } from "#shared/config/topology.ts";
import { isErrorCode } from "#shared/errors/codes.ts";
import type { ErrorCode } from "#shared/errors/codes.ts";
import type { ErrorOutcome } from "#shared/errors/gateway-error.ts";
import { classifyPlatformFailure } from "#shared/errors/platform-failure.ts";
import { outcomeHeader, overloadHeader, throttleHeader } from "#shared/protocol/internal/stream.ts";
import { readLevel, readOutcomeHeader } from "../turns/lane-answer.ts";
import type { CellAnswer, CellCall, CellClient } from "../ports.ts";
import type { CellRequest } from "./cell-fetch.ts";
import { readPulledText } from "./pulled-frames.ts";

/** Time that a cell gets past the deadline to say itself that it passed, ms. */
const deadlineGraceMs = 2_000;
/** An acknowledgement that takes longer is not waited for, ms; the next one covers it. */
const acknowledgeTimeoutMs = 2_000;
/** Time for a cell to end a turn and to say what it came to, ms, and how often it is asked. */
const stopTimeoutMs = 3_000;
const stopTriesMax = 2;
/** A seq that no stream reaches: of what is kept, only the outcome is wanted. */
const seqMax = 999_999_999;
/** An error body longer than this is not a cell's, bytes. */
const errorBodyBytesMax = 64 * 1024;
/** setTimeout's longest delay, ms; a longer one would fire at once. */
const timerMsMax = 2_147_483_647;

const errorBodySchema = z.object({
  error: z.object({
    message: z.string().max(2000),
    param: z.string().max(500).nullable().optional(),
    code: z.string().refine((code): code is ErrorCode => isErrorCode(code)),
  }),
});

function readRetryAfterMs(headers: Headers): number | null {
  const text = headers.get("retry-after-ms");
  return text !== null && /^\d{1,9}$/.test(text) ? Number(text) : null;
}

/** The cell's error, or null when what answered is no cell: a proxy, a page, another server. */
export async function readError(response: Response): Promise<ErrorOutcome | null> {
  const length = Number(response.headers.get("content-length") ?? "0");
  if (length > errorBodyBytesMax) {
    await response.body?.cancel();
    return null;
  }
  try {
    const parsed = errorBodySchema.safeParse(await response.json());
    if (!parsed.success) return null;
    const { message, param, code } = parsed.data.error;
    const retryAfterMs = readRetryAfterMs(response.headers);
    return {
      code,
      message,
      ...(param === null || param === undefined ? {} : { param }),
      ...(retryAfterMs === null ? {} : { retryAfterMs }),
    };
  } catch {
    return null;
  }
}

/**
 * Codes that a cell may answer with before it has accepted a turn. Any other error without an outcome is about the call
 * itself (its signature, shape, fence or address) and is ours to repair: a client must never see it as its own fault.
 */
export const refusalCodes: ReadonlySet<ErrorCode> = new Set([
  "saturated",
  "draining",
  "starting",
  "no_capacity_in_jurisdiction",
  "deadline_exceeded",
]);

function isForClient(response: Response, error: ErrorOutcome): boolean {
  return response.headers.has(outcomeHeader) || refusalCodes.has(error.code);
}

/** Whether another cell may take what this one refused: the shortage is its own, or it says so itself. */
function mayMove(response: Response, error: ErrorOutcome): boolean {
  if (readOutcomeHeader(response.headers)?.mayMove === true) return true;
  if (response.status === 429) return response.headers.get(overloadHeader) === "cell";
  return (
    error.code === "draining" ||
    error.code === "starting" ||
    error.code === "no_capacity_in_jurisdiction"
  );
}

async function answerOf(response: Response): Promise<CellAnswer> {
  if (response.status === 200 && response.body !== null) {
    return { kind: "answer", headers: response.headers, body: response.body };
  }
  const error = await readError(response);
  if (error === null || !isForClient(response, error)) {
    return { kind: "unreachable", failure: "notACell" };
  }
  return {
    kind: "refused",
    error,
    mayMove: mayMove(response, error),
    shard: response.headers.get("x-meridian-shard"),
    level: readLevel(response.headers),
    throttle: response.headers.get(throttleHeader),
  };
}

/** The answer about a turn whose deadline has passed; nothing was sent. */
const expired: CellAnswer = {
  kind: "refused",
  error: {
    code: "deadline_exceeded",
    message: "The request's deadline came before a cell was asked. Allow more time.",
  },
  mayMove: false,
  shard: null,
  level: null,
  throttle: null,
};

/** The call's signal: its deadline, its caller's and its head's in one, because each joining of signals costs. */
function signalOf(call: CellCall, nowMs: number, head: AbortController | null): AbortSignal {
  const leftMs = Math.min(timerMsMax, Math.max(0, call.deadlineMs + deadlineGraceMs - nowMs));
  const timeout = AbortSignal.timeout(leftMs);
  const signals = [timeout];
  if (call.signal !== null) signals.push(call.signal);
  if (head !== null) signals.push(head.signal);
  return signals.length === 1 ? timeout : AbortSignal.any(signals);
}

/** The turn calls of the edge over signed requests. Every failure is a value. */
export function createCellClient(request: CellRequest, now: () => number): CellClient {
  async function ask(
    cell: CellDescription,
    call: CellCall,
    what: { readonly method: string; readonly path: string; readonly body: string },
  ): Promise<CellAnswer> {
    const { headTimeoutMs } = call;
    const head = headTimeoutMs === null ? null : new AbortController();
    const signal = signalOf(call, now(), head);
    const timer = headTimeoutMs === null ? null : setTimeout(() => head?.abort(), headTimeoutMs);
    const headers = { "x-request-id": call.requestId, traceparent: call.traceparent };
    try {
      return await answerOf(await request(cell, { ...what, headers }, signal));
    } catch (thrown) {
      const isTimeout = now() >= call.deadlineMs;
      return {
        kind: "unreachable",
        failure: isTimeout ? "timeout" : classifyPlatformFailure(thrown),
      };
    } finally {
      if (timer !== null) clearTimeout(timer);
    }
  }
  return {
    startTurn: async (cell, turn, call) => {
      // Expired work is dropped, not run: no cell is asked for it.
      if (now() >= turn.deadlineMs) return expired;
      return ask(cell, call, {
        method: "PUT",
        path: `/internal/turns/${turn.turnId}?attempt=${turn.attempt}`,
        body: JSON.stringify(turn),
      });
    },
    readFrames: (cell, { turnId, attempt, afterSeq }, call) =>
      ask(cell, call, {
        method: "GET",
        path: `/internal/turns/${turnId}/frames?attempt=${attempt}&after=${afterSeq}`,
        body: "",
      }),
    stopTurn: async (cell, { turnId, attempt }, call) => {
      const path = `/internal/turns/${turnId}?attempt=${attempt}&after=${seqMax}`;
      const headers = { "x-request-id": call.requestId, traceparent: call.traceparent };
      for (let left = stopTriesMax; left > 0; left -= 1) {
        try {
          const signal = AbortSignal.timeout(stopTimeoutMs);
          const response = await request(
            cell,
            { method: "DELETE", path, body: "", headers },
            signal,
          );
          const text = await response.text();
          if (response.status === 404) return { kind: "neverRan" };
          const { outcome } = readPulledText(text, seqMax);
          return outcome === null ? { kind: "unknown" } : { kind: "outcome", outcome };
        } catch {
          // The cell may not have got it: it is asked once more.
        }
      }
      return { kind: "unknown" };
    },
    acknowledge: async (cell, { turnId, attempt, seq }, call) => {
      const answer = await ask(
        cell,
        { ...call, headTimeoutMs: acknowledgeTimeoutMs },
        {
          method: "POST",
          path: `/internal/turns/${turnId}/acknowledge`,
          body: JSON.stringify({ attempt, seq }),
        },
      );
      if (answer.kind === "answer") await answer.body.cancel();
    },
  };
}
