import { errorResponseParts } from "#shared/errors/gateway-error.ts";
import type { ErrorOutcome } from "#shared/errors/gateway-error.ts";
import {
  expectedWaitHeader,
  levelHeader,
  outcomeHeader,
} from "#shared/protocol/internal/stream.ts";
import { parseTurnOutcome } from "#shared/protocol/internal/turn-outcome.ts";
import type { TurnOutcome } from "#shared/protocol/internal/turn-outcome.ts";
import type { Hops } from "../request-facts.ts";

/** What a lane answers with; the hops go into the receipt. */
export interface LaneAnswer {
  readonly response: Response;
  readonly hops: Hops;
  readonly errorCode?: string;
}

/** Content type of every stream. */
export const streamContentType = "text/event-stream; charset=utf-8";

/** Headers of a successful answer; ids of the durable lane only where there are any. */
export function answerHeaders(parts: {
  readonly contentType: string;
  readonly shard: string | null;
  /** Degradation level of the cell that answers; null where none was asked. */
  readonly level?: string | null;
  /** How long a shard's start was expected to take when the turn began to wait for it, ms; null where it waits for none. */
  readonly expectedWaitMs?: string | null;
  readonly conversationId?: string;
  readonly streamId?: string;
  readonly rateLimit?: Readonly<Record<string, string>>;
}): Headers {
  const headers = new Headers({
    "content-type": parts.contentType,
    ...parts.rateLimit,
  });
  if (typeof parts.level === "string") headers.set(levelHeader, parts.level);
  if (typeof parts.expectedWaitMs === "string") {
    headers.set(expectedWaitHeader, parts.expectedWaitMs);
  }
  if (parts.shard !== null) headers.set("x-meridian-shard", parts.shard);
  if (parts.conversationId !== undefined)
    headers.set("x-meridian-conversation", parts.conversationId);
  if (parts.streamId !== undefined) headers.set("x-meridian-stream", parts.streamId);
  return headers;
}

/** The degradation level that a cell's answer tells; null for none. */
export function readLevel(headers: Headers): string | null {
  const text = headers.get(levelHeader) ?? "";
  return /^[0-4]$/.test(text) ? text : null;
}

/** The wait for a shard's start that a cell's answer tells, ms; null for none. */
export function readExpectedWait(headers: Headers): string | null {
  const text = headers.get(expectedWaitHeader) ?? "";
  return /^\d{1,9}$/.test(text) ? text : null;
}

/** The level as a header of an answer; empty where no cell told one. */
export function levelHeaders(level: string | null): Record<string, string> {
  return level === null ? {} : { [levelHeader]: level };
}

/** An error answer of a lane, with the hops that led to it. */
export function refuse(
  error: ErrorOutcome,
  hops: Hops,
  extraHeaders: Readonly<Record<string, string>> = {},
): LaneAnswer {
  const { status, headers, body } = errorResponseParts(error);
  const response = new Response(JSON.stringify(body), {
    // Codes that exist only inside a stream have no status of their own; before a stream they are a bad upstream.
    status: status === 200 ? 502 : status,
    headers: { ...headers, ...extraHeaders },
  });
  return { response, hops, errorCode: error.code };
}

/** The outcome in an answer's header, or null when there is none or it is none. */
export function readOutcomeHeader(headers: Headers): TurnOutcome | null {
  const text = headers.get(outcomeHeader);
  return text === null ? null : parseTurnOutcome(text);
}
