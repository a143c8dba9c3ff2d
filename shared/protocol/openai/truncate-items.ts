import type { ErrorOutcome } from "../../errors/gateway-error.ts";
import type { ItemRecord } from "../internal/turn-outcome.ts";
import type { JsonObject } from "../json.ts";
import { estimateMessages } from "./chat-message.ts";
import { estimateTokens } from "./estimate-tokens.ts";
import { parseItem } from "./items.ts";
import { messagesOfItems } from "./items-to-messages.ts";

/** Tokens kept free for the answer when the client set no maximum, at most a quarter of the context. */
const completionTokensReserve = 1024;

/** A prompt and the window that it must fit. All sizes in tokens. */
export interface ContextFit {
  readonly contextTokensMax: number;
  /** Null when the client set none: 1,024 or a quarter of the context are kept free. */
  readonly completionTokensMax: number | null;
  /** The parameter that an error names. */
  readonly param: "input" | "messages" | "prompt";
}

/** The prompt tokens that leave room for the answer. */
function promptTokensMax({ contextTokensMax, completionTokensMax }: ContextFit): number {
  const reserve =
    completionTokensMax ?? Math.min(completionTokensReserve, Math.floor(contextTokensMax / 4));
  return contextTokensMax - reserve;
}

/**
 * `context_length_exceeded` when the estimated prompt and the answer's maximum do not fit the model's window, else null.
 * Without a maximum the prompt alone must fit: the engine cuts the answer.
 */
export function checkContextLength(
  promptTokensEstimate: number,
  fit: ContextFit,
): ErrorOutcome | null {
  const { contextTokensMax, completionTokensMax, param } = fit;
  const needed = promptTokensEstimate + (completionTokensMax ?? 0);
  if (needed <= contextTokensMax) return null;
  const answer =
    completionTokensMax === null ? "" : ` and ${completionTokensMax} tokens for the answer`;
  return {
    code: "context_length_exceeded",
    message: `The model's context holds ${contextTokensMax} tokens; the prompt has about ${promptTokensEstimate}${answer}. Shorten it.`,
    param,
  };
}

/** Items that fit, or the refusal. */
export type TruncateResult =
  | {
      readonly ok: true;
      readonly items: readonly ItemRecord[];
      readonly droppedCount: number;
      readonly promptTokensEstimate: number;
    }
  | { readonly ok: false; readonly error: ErrorOutcome };

function isInstruction(item: JsonObject): boolean {
  return item["type"] === "message" && (item["role"] === "system" || item["role"] === "developer");
}

/**
 * For each position whether the history may begin there: not between a call and its output, and not behind reasoning,
 * which belongs to what follows it. The position behind the last item is none: something must be asked.
 */
function cutsOf(items: readonly JsonObject[], begin: number): boolean[] {
  const spans = new Map<string, { first: number; last: number }>();
  for (const [index, item] of items.entries()) {
    const callId = item["call_id"];
    if (typeof callId !== "string" || callId === "") continue;
    const span = spans.get(callId);
    if (span === undefined) spans.set(callId, { first: index, last: index });
    else span.last = index;
  }
  const opened = Array.from({ length: items.length + 1 }, () => 0);
  for (const { first, last } of spans.values()) {
    opened[first + 1] = (opened[first + 1] ?? 0) + 1;
    opened[last + 1] = (opened[last + 1] ?? 0) - 1;
  }
  let depth = 0;
  return items.map((_, index) => {
    depth += opened[index] ?? 0;
    return index >= begin && depth === 0 && items[index - 1]?.["type"] !== "reasoning";
  });
}

/**
 * Makes a history fit the model's context. `auto` drops the oldest items, as few as are enough; leading system and
 * developer messages stay, a call and its output stay or go together, the newest item stays. `disabled`, and a history
 * that cannot be cut enough, is `context_length_exceeded`. `overheadTokens` counts what is sent besides the items
 * (instructions, tools). Linear.
 */
export function truncateItems(
  records: readonly ItemRecord[],
  truncation: "auto" | "disabled",
  overheadTokens: number,
  fit: ContextFit,
): TruncateResult {
  const items = records.map(parseItem);
  const sizes = items.map((item) => estimateItem(item));
  const total = sizes.reduce((sum, size) => sum + size, overheadTokens);
  const refusal = checkContextLength(total, fit);
  if (truncation === "disabled") {
    if (refusal !== null) return { ok: false, error: refusal };
    return { ok: true, items: records, droppedCount: 0, promptTokensEstimate: total };
  }
  const max = promptTokensMax(fit);
  const firstOther = items.findIndex((item) => !isInstruction(item));
  const begin = firstOther === -1 ? items.length : firstOther;
  const cuts = cutsOf(items, begin);
  let remaining = total;
  for (let cut = begin; cut < items.length; cut += 1) {
    if (remaining <= max && cuts[cut] === true) {
      const kept = [...records.slice(0, begin), ...records.slice(cut)];
      return { ok: true, items: kept, droppedCount: cut - begin, promptTokensEstimate: remaining };
    }
    remaining -= sizes[cut] ?? 0;
  }
  if (refusal === null) {
    return { ok: true, items: records, droppedCount: 0, promptTokensEstimate: total };
  }
  return { ok: false, error: refusal };
}

function estimateItem(item: JsonObject): number {
  if (item["type"] === "reasoning") return estimateTokens(JSON.stringify(item["content"] ?? ""));
  return estimateMessages(messagesOfItems([item], null));
}
