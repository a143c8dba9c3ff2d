import type { DeltaEvent, EngineEvent, InvalidReason, ToolCallDelta } from "./engine-event.ts";
import type { JsonValue } from "./json.ts";
import { createSseParser, defaultSseLimits } from "./sse/sse-parser.ts";
import type { SseEvent, SseLimits } from "./sse/sse-parser.ts";
import type { Usage } from "./usage.ts";

export interface EngineStreamOptions {
  readonly path: "chat/completions" | "completions";
  /** How many choices were asked for (`n`); an index outside 0..choices-1 is invalid. */
  readonly choices: number;
  /** The model name the engine must answer with; null: whatever its first chunk says, unchanged afterwards. */
  readonly model: string | null;
  readonly limits?: SseLimits;
}

/** Reads an engine's stream strictly: a shard is hostile. Once invalid it stays invalid and says nothing more. */
export interface EngineStreamReader {
  /** Decoded text, cut anywhere. */
  push(text: string): readonly EngineEvent[];
  /** What a clean end of the body means; `invalid` unless `[DONE]` came after a finish reason for every choice. */
  end(): readonly EngineEvent[];
}

type Fields = Readonly<Record<string, JsonValue | undefined>>;

function isFields(value: unknown): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isTokenCount(value: unknown): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0;
}

function isAbsent(value: unknown): boolean {
  return value === undefined || value === null;
}

/** A text field: undefined when absent or null, `false` when it is no text. */
function textOf(value: unknown): string | undefined | false {
  if (isAbsent(value)) return undefined;
  return typeof value === "string" ? value : false;
}

function tokenIdsOf(value: unknown): readonly number[] | undefined | false {
  if (isAbsent(value)) return undefined;
  return Array.isArray(value) && value.every(isTokenCount) ? value : false;
}

/** An engine's usage object as ours, or null when a count is missing or absurd. */
export function readUsage(value: unknown): Usage | null {
  if (!isFields(value)) return null;
  const { prompt_tokens: promptTokens, completion_tokens: completionTokens } = value;
  if (!isTokenCount(promptTokens)) return null;
  const prompt = value["prompt_tokens_details"];
  const completion = value["completion_tokens_details"];
  const cached = isFields(prompt) ? (prompt["cached_tokens"] ?? 0) : 0;
  const reasoning = isFields(completion) ? (completion["reasoning_tokens"] ?? 0) : 0;
  if (!isTokenCount(cached) || !isTokenCount(reasoning)) return null;
  const completed = completionTokens ?? 0;
  if (!isTokenCount(completed) || cached > promptTokens) return null;
  return {
    promptTokens,
    completionTokens: completed,
    cachedTokens: cached,
    reasoningTokens: reasoning,
  };
}

function toolCallsOf(value: unknown): readonly ToolCallDelta[] | undefined | false {
  if (isAbsent(value)) return undefined;
  if (!Array.isArray(value)) return false;
  const calls: ToolCallDelta[] = [];
  for (const entry of value) {
    if (!isFields(entry)) return false;
    const { index, id, function: called } = entry;
    if (!isTokenCount(index) || index > 1_023) return false;
    if (!isAbsent(called) && !isFields(called)) return false;
    const name = textOf(isFields(called) ? called["name"] : undefined);
    const args = textOf(isFields(called) ? called["arguments"] : undefined);
    const callId = textOf(id);
    if (name === false || args === false || callId === false) return false;
    calls.push({
      index,
      ...(callId === undefined ? {} : { id: callId }),
      ...(name === undefined ? {} : { name }),
      ...(args === undefined ? {} : { arguments: args }),
    });
  }
  return calls.length === 0 ? undefined : calls;
}

/** One entry of `choices`, or null when it is misshapen. */
function readChoice(path: EngineStreamOptions["path"], choice: Fields): DeltaEvent | null {
  const index = choice["index"] ?? 0;
  const delta = path === "completions" ? choice : (choice["delta"] ?? {});
  if (!isTokenCount(index) || !isFields(delta)) return null;
  const text = textOf(path === "completions" ? delta["text"] : delta["content"]);
  const reasoning = textOf(delta["reasoning"] ?? delta["reasoning_content"]);
  const refusal = textOf(delta["refusal"]);
  const toolCalls = toolCallsOf(path === "completions" ? undefined : delta["tool_calls"]);
  const tokenIds = tokenIdsOf(choice["token_ids"]);
  const finishReason = textOf(choice["finish_reason"]);
  if (text === false || reasoning === false || refusal === false || toolCalls === false)
    return null;
  if (tokenIds === false || finishReason === false || finishReason === "") return null;
  const { logprobs } = choice;
  return {
    kind: "delta",
    choice: index,
    ...(text === undefined || text === "" ? {} : { text }),
    ...(reasoning === undefined || reasoning === "" ? {} : { reasoning }),
    ...(refusal === undefined || refusal === "" ? {} : { refusal }),
    ...(toolCalls === undefined ? {} : { toolCalls }),
    ...(logprobs === undefined || logprobs === null ? {} : { logprobs }),
    ...(tokenIds === undefined || tokenIds.length === 0 ? {} : { tokenIds }),
    ...(finishReason === undefined ? {} : { finishReason }),
  };
}

/** A strict reader of one engine stream. */
export function createEngineStreamReader(options: EngineStreamOptions): EngineStreamReader {
  const parser = createSseParser(options.limits ?? defaultSseLimits);
  const finished = new Set<number>();
  let model = options.model;
  let isDone = false;
  let isInvalid = false;
  let hasUsage = false;

  function chunkEvents(chunk: Fields): readonly EngineEvent[] | InvalidReason {
    if (!isAbsent(chunk["error"])) return "errorChunk";
    const chunkModel = chunk["model"];
    if (typeof chunkModel === "string") {
      if (model === null) model = chunkModel;
      else if (chunkModel !== model) return "wrongModel";
    }
    const choices = chunk["choices"];
    if (!Array.isArray(choices)) return "shape";
    const events: EngineEvent[] = [];
    const promptTokenIds = tokenIdsOf(chunk["prompt_token_ids"]);
    if (promptTokenIds === false) return "shape";
    if (promptTokenIds !== undefined)
      events.push({ kind: "promptTokenIds", tokenIds: promptTokenIds });
    for (const choice of choices) {
      const delta = isFields(choice) ? readChoice(options.path, choice) : null;
      if (delta === null || delta.choice >= options.choices) return "shape";
      const { finishReason, ...content } = delta;
      const hasContent = Object.keys(content).length > 2;
      if (finished.has(delta.choice) && (hasContent || finishReason !== undefined)) return "shape";
      if (finishReason !== undefined) finished.add(delta.choice);
      if (hasContent || finishReason !== undefined) events.push(delta);
    }
    if (!isAbsent(chunk["usage"])) {
      const usage = readUsage(chunk["usage"]);
      if (usage === null) return "shape";
      // Some engines repeat a running usage on every chunk: the last one, which comes without choices, counts.
      if (choices.length === 0 && !hasUsage) {
        hasUsage = true;
        events.push({ kind: "usage", usage });
      }
    }
    return events;
  }

  function eventsOf({ data, event }: SseEvent): readonly EngineEvent[] | InvalidReason {
    if (isDone) return "afterDone";
    if (event === "error") return "errorChunk";
    if (data === "[DONE]") {
      if (finished.size < options.choices) return "noFinishReason";
      isDone = true;
      return [{ kind: "done" }];
    }
    let value: unknown;
    try {
      value = JSON.parse(data);
    } catch {
      return "json";
    }
    return isFields(value) ? chunkEvents(value) : "shape";
  }

  function invalid(events: EngineEvent[], reason: InvalidReason): readonly EngineEvent[] {
    isInvalid = true;
    events.push({ kind: "invalid", reason });
    return events;
  }

  return {
    push(text) {
      if (isInvalid) return [];
      const { ok, events: parsed } = parser.push(text);
      const events: EngineEvent[] = [];
      for (const event of parsed) {
        const next = eventsOf(event);
        if (typeof next === "string") return invalid(events, next);
        events.push(...next);
      }
      return ok ? events : invalid(events, "lineTooLong");
    },
    end() {
      if (isInvalid || isDone) return [];
      return invalid([], finished.size < options.choices ? "noFinishReason" : "noDone");
    },
  };
}
