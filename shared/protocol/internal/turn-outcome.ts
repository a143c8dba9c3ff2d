import { isErrorCode } from "../../errors/codes.ts";
import type { ErrorOutcome } from "../../errors/gateway-error.ts";
import type { CellId, RegionId, ShardId, TurnId } from "../../residency/brands.ts";
import type { Spill } from "../../routing/next-home.ts";
import type { Usage } from "../usage.ts";

/** An item of the history as it is carried and stored: its JSON is opaque to objects and databases. */
export interface ItemRecord {
  readonly id: string;
  /** The item's `type`: `message`, `function_call`, `function_call_output`, `reasoning`. */
  readonly type: string;
  /** The whole item as JSON text. */
  readonly json: string;
}

/** Why a candidate shard did not run the prompt. */
export interface RejectedCandidate {
  readonly id: string;
  readonly reason: string;
}

/** How a turn ended, as the cell reports it. Content-free but for `items` and `body`, which the durable lane stores. */
export interface TurnOutcome {
  readonly v: 1;
  readonly turnId: TurnId;
  readonly attempt: number;
  readonly status: "completed" | "incomplete" | "failed" | "cancelled";
  readonly error: ErrorOutcome | null;
  /** Of a failed turn: whether another cell may go on with it, because what it lacked is this cell's own. */
  readonly mayMove: boolean;
  /** Seams in the answer: how often another shard or cell went on with it. */
  readonly continuations: number;
  readonly cell: CellId;
  readonly region: RegionId;
  readonly shard: ShardId | null;
  /** The model that answered: a smaller one than was asked for where the tenant allows it (docs/degradation.md). */
  readonly model?: string;
  readonly rejected: readonly RejectedCandidate[];
  /** Set when the conversation's home could have run it later: whether the home is kept (`shared/routing/next-home.ts`). */
  readonly spill?: Spill;
  readonly usage: Usage;
  readonly finishReasons: readonly string[];
  /** Assistant items to append to the conversation; empty on the stateless lane. */
  readonly items: readonly ItemRecord[];
  /** The whole answer as a not streamed client would get it (JSON text); null on the stateless lane. */
  readonly body: string | null;
  readonly queueWaitMs: number;
  /** Time from dispatch to the first token, ms; null when there was none. */
  readonly ttftMs: number | null;
  readonly totalMs: number;
}

/** Longest id, and longest word of a closed set, characters; most elements of a list. */
const idCharactersMax = 200;
const wordCharactersMax = 64;
const listMax = 1024;
const finishReasonsMax = 128;

const statuses: readonly unknown[] = ["completed", "incomplete", "failed", "cancelled"];

function isStatus(value: unknown): value is TurnOutcome["status"] {
  return statuses.includes(value);
}

/** A kind of spill that a newer cell knows and this edge does not moves no home by itself. */
function readSpill(value: unknown): Spill | undefined | null {
  if (value === undefined || value === "pays" || value === "held") return value;
  return typeof value === "string" ? "once" : null;
}

type Fields = Readonly<Record<string, unknown>>;

function isFields(value: unknown): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isId(value: unknown): value is string {
  return typeof value === "string" && value.length > 0 && value.length <= idCharactersMax;
}

function isWord(value: unknown): value is string {
  return typeof value === "string" && value.length <= wordCharactersMax;
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

function isDuration(value: unknown): value is number {
  return typeof value === "number" && Number.isFinite(value) && value >= 0;
}

/** A list of at most `max`, each read by `read`; null when one is none. */
function readAll<Element>(
  value: unknown,
  max: number,
  read: (element: unknown) => Element | null,
): readonly Element[] | null {
  if (!Array.isArray(value) || value.length > max) return null;
  const list: Element[] = [];
  for (const element of value) {
    const one = read(element);
    if (one === null) return null;
    list.push(one);
  }
  return list;
}

function readRejected(value: unknown): RejectedCandidate | null {
  if (!isFields(value)) return null;
  const { id, reason } = value;
  return isId(id) && isWord(reason) ? { id, reason } : null;
}

function readItem(value: unknown): ItemRecord | null {
  if (!isFields(value)) return null;
  const { id, json, type } = value;
  return isId(id) && isWord(type) && typeof json === "string" ? { id, type, json } : null;
}

function readUsage(value: unknown): Usage | null {
  if (!isFields(value)) return null;
  const { promptTokens, completionTokens, cachedTokens, reasoningTokens } = value;
  return isCount(promptTokens) &&
    isCount(completionTokens) &&
    isCount(cachedTokens) &&
    isCount(reasoningTokens)
    ? { promptTokens, completionTokens, cachedTokens, reasoningTokens }
    : null;
}

/** Undefined when it is no error. */
function readError(value: unknown): ErrorOutcome | null | undefined {
  if (value === null) return null;
  if (!isFields(value)) return undefined;
  const { code, message, param, retryAfterMs } = value;
  if (typeof code !== "string" || !isErrorCode(code) || typeof message !== "string")
    return undefined;
  if (param !== undefined && typeof param !== "string") return undefined;
  if (retryAfterMs !== undefined && !Number.isFinite(retryAfterMs)) return undefined;
  return {
    code,
    message,
    ...(param === undefined ? {} : { param }),
    ...(retryAfterMs === undefined ? {} : { retryAfterMs: retryAfterMs as number }),
  };
}

/** The outcome that a JSON value is, without fields that an outcome has not; null when it is none. */
function readOutcome(value: unknown): TurnOutcome | null {
  if (!isFields(value)) return null;
  const { v, turnId, attempt, status, mayMove, continuations, cell, region, shard, body } = value;
  const { model, queueWaitMs, ttftMs, totalMs } = value;
  const spill = readSpill(value["spill"]);
  const error = readError(value["error"]);
  const rejected = readAll(value["rejected"], listMax, readRejected);
  const usage = readUsage(value["usage"]);
  const finishReasons = readAll(value["finishReasons"], finishReasonsMax, (word) =>
    isWord(word) ? word : null,
  );
  const items = readAll(value["items"], listMax, readItem);
  if (error === undefined || rejected === null || usage === null) return null;
  if (finishReasons === null || items === null) return null;
  if (v !== 1 || !isId(turnId) || !isCount(attempt) || attempt === 0) return null;
  if (!isStatus(status) || typeof mayMove !== "boolean" || !isCount(continuations)) return null;
  if (!isId(cell) || !isId(region) || (shard !== null && !isId(shard))) return null;
  if (body !== null && typeof body !== "string") return null;
  if (model !== undefined && !isId(model)) return null;
  if (spill === null) return null;
  if (!isDuration(queueWaitMs) || !isDuration(totalMs)) return null;
  if (ttftMs !== null && !isDuration(ttftMs)) return null;
  return {
    v,
    turnId: turnId as TurnId,
    attempt,
    status,
    error,
    mayMove,
    continuations,
    cell: cell as CellId,
    region: region as RegionId,
    shard: shard as ShardId | null,
    ...(model === undefined ? {} : { model }),
    rejected,
    ...(spill === undefined ? {} : { spill }),
    usage,
    finishReasons,
    items,
    body,
    queueWaitMs,
    ttftMs,
    totalMs,
  };
}

/**
 * The outcome in `text`, or null when it is none: the edge trusts a cell's signature, not its grammar. By hand, because a
 * Worker reads one for each answer and zod may not compile there.
 */
export function parseTurnOutcome(text: string): TurnOutcome | null {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return null;
  }
  return readOutcome(value);
}
