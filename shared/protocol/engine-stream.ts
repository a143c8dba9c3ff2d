import { hasContent, readChoice } from "./engine/read-choice.ts";
import { isAbsent, isFields, tokenIdsOf } from "./engine/fields.ts";
import type { Fields } from "./engine/fields.ts";
import { readUsage } from "./engine/read-usage.ts";
import { learnTemplate, textAt } from "./engine/text-template.ts";
import type { TextTemplate } from "./engine/text-template.ts";
import type { DeltaEvent, EngineEvent, InvalidReason } from "./engine-event.ts";
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

/** Finish reasons by which an engine says that it failed: vLLM and SGLang end a request that broke with them. */
const failedFinishReasons: ReadonlySet<string> = new Set(["abort", "error"]);

/** What must not change from chunk to chunk, and how far each choice is. */
interface StreamState {
  id: string | null;
  model: string | null;
  readonly finished: Set<number>;
  /** Tool calls begun, per choice. */
  readonly toolCalls: Map<number, number>;
  hasPromptTokenIds: boolean;
  /** A usage that came beside choices: some engines repeat a running one, others send only that. */
  runningUsage: Usage | null;
  hasUsage: boolean;
}

/** Whether the chunk belongs to the stream that the first chunk began. */
function checkIdentity(state: StreamState, chunk: Fields): InvalidReason | null {
  const { id, model } = chunk;
  if (!isAbsent(id)) {
    if (typeof id !== "string") return "shape";
    state.id ??= id;
    if (id !== state.id) return "shape";
  }
  if (!isAbsent(model)) {
    if (typeof model !== "string") return "shape";
    state.model ??= model;
    if (model !== state.model) return "wrongModel";
  }
  return null;
}

/**
 * Whether each tool call begins with its name, as the next in order. A later name or id is a repetition: it is left out,
 * so that what is passed on names each call once.
 */
function checkToolCalls(state: StreamState, delta: DeltaEvent): DeltaEvent | null {
  if (delta.toolCalls === undefined) return delta;
  let begun = state.toolCalls.get(delta.choice) ?? 0;
  const toolCalls = [];
  for (const piece of delta.toolCalls) {
    if (piece.index < begun) {
      const { index, arguments: text } = piece;
      toolCalls.push(text === undefined ? { index } : { index, arguments: text });
      continue;
    }
    if (piece.index !== begun || piece.name === undefined) return null;
    begun += 1;
    toolCalls.push(piece);
  }
  state.toolCalls.set(delta.choice, begun);
  return { ...delta, toolCalls };
}

function addChoice(state: StreamState, delta: DeltaEvent, to: EngineEvent[]): InvalidReason | null {
  const { choice, finishReason } = delta;
  const isSaying = hasContent(delta);
  if (!isSaying && finishReason === undefined) return null;
  if (state.finished.has(choice)) return "shape";
  if (finishReason !== undefined) {
    if (failedFinishReasons.has(finishReason)) return "errorChunk";
    state.finished.add(choice);
  }
  const checked = checkToolCalls(state, delta);
  if (checked === null) return "shape";
  to.push(checked);
  return null;
}

function addPromptTokenIds(state: StreamState, value: unknown, to: EngineEvent[]): boolean {
  if (isAbsent(value)) return true;
  const tokenIds = tokenIdsOf(value);
  if (tokenIds === false) return false;
  if (tokenIds === undefined || state.hasPromptTokenIds) return true;
  state.hasPromptTokenIds = true;
  to.push({ kind: "promptTokenIds", tokenIds });
  return true;
}

function addUsage(state: StreamState, chunk: Fields, isAlone: boolean, to: EngineEvent[]): boolean {
  if (isAbsent(chunk["usage"])) return true;
  const usage = readUsage(chunk["usage"]);
  if (usage === null) return false;
  if (!isAlone) state.runningUsage = usage;
  else if (!state.hasUsage) {
    state.hasUsage = true;
    to.push({ kind: "usage", usage });
  }
  return true;
}

/** Adds what a chunk says to `to`; a reason when it may not be believed. */
function addChunk(
  { path, choices: choiceCount }: EngineStreamOptions,
  state: StreamState,
  chunk: Fields,
  to: EngineEvent[],
): InvalidReason | null {
  if (!isAbsent(chunk["error"]) || chunk["object"] === "error") return "errorChunk";
  const wrong = checkIdentity(state, chunk);
  if (wrong !== null) return wrong;
  const { choices } = chunk;
  if (!Array.isArray(choices)) return "shape";
  if (!addPromptTokenIds(state, chunk["prompt_token_ids"], to)) return "shape";
  for (const choice of choices) {
    const delta = readChoice(path, choiceCount, choice);
    if (delta === null) return "shape";
    // vLLM gives the prompt of a completion in its choice; with several prompts there is no one prompt to keep.
    const isOnlyPrompt = choiceCount === 1 && isFields(choice);
    if (isOnlyPrompt && !addPromptTokenIds(state, choice["prompt_token_ids"], to)) return "shape";
    const misplaced = addChoice(state, delta, to);
    if (misplaced !== null) return misplaced;
  }
  return addUsage(state, chunk, choices.length === 0, to) ? null : "shape";
}

/** How often a stream's pieces are looked at for their template: engines change its surroundings once or twice. */
const lessonsMax = 4;

function parsed(data: string): unknown {
  try {
    return JSON.parse(data) as unknown;
  } catch {
    return undefined;
  }
}

function onlyText(delta: DeltaEvent): string | null {
  const { choice: _choice, kind: _kind, text, ...rest } = delta;
  return text !== undefined && Object.keys(rest).length === 0 ? text : null;
}

/** A strict reader of one engine stream. The caller decodes bytes with a fatal, streaming UTF-8 decoder. */
export function createEngineStreamReader(options: EngineStreamOptions): EngineStreamReader {
  const parser = createSseParser(options.limits ?? defaultSseLimits);
  const state: StreamState = {
    id: null,
    model: options.model,
    finished: new Set(),
    toolCalls: new Map(),
    hasPromptTokenIds: false,
    runningUsage: null,
    hasUsage: false,
  };
  let hasEvents = false;
  let isDone = false;
  let isInvalid = false;
  let template: TextTemplate | null = null;
  let lessons = 0;
  let texts = 0;

  function addEvent({ data, event }: SseEvent, to: EngineEvent[]): InvalidReason | null {
    hasEvents = true;
    if (isDone) return "afterDone";
    if (event === "error") return "errorChunk";
    if (data === "[DONE]") {
      if (state.finished.size < options.choices) return "noFinishReason";
      isDone = true;
      if (!state.hasUsage && state.runningUsage !== null)
        to.push({ kind: "usage", usage: state.runningUsage });
      to.push({ kind: "done" });
      return null;
    }
    if (template !== null && !state.finished.has(template.choice)) {
      const text = textAt(template, data);
      if (text !== null) {
        to.push({ kind: "delta", choice: template.choice, text });
        return null;
      }
    }
    const value = parsed(data);
    if (value === undefined) return "json";
    const before = to.length;
    const reason = isFields(value) ? addChunk(options, state, value, to) : "shape";
    if (reason === null && to.length === before + 1) learn(data, to[before]);
    return reason;
  }

  /** Learns from the pieces that say most: those of a stream that interleaves choices have more than one shape. */
  function learn(data: string, event: EngineEvent | undefined): void {
    if (event?.kind !== "delta" || lessons >= lessonsMax || onlyText(event) === null) return;
    texts += 1;
    // The first names the role beside its text; an answer of one piece has nothing to be learned for.
    if (texts === 1) return;
    lessons += 1;
    template = learnTemplate(data, event, readText) ?? template;
  }

  /** The text of an event that says nothing else and has nothing else to be kept, or null. */
  function readText(data: string): string | null {
    const value = parsed(data);
    if (!isFields(value) || !isAbsent(value["usage"]) || !Array.isArray(value["choices"]))
      return null;
    const [choice, another] = value["choices"];
    if (another !== undefined) return null;
    const delta = readChoice(options.path, options.choices, choice);
    return delta === null ? null : onlyText(delta);
  }

  function invalid(events: EngineEvent[], reason: InvalidReason): readonly EngineEvent[] {
    isInvalid = true;
    events.push({ kind: "invalid", reason });
    return events;
  }

  return {
    push(text) {
      if (isInvalid) return [];
      const parsed = parser.push(text);
      const events: EngineEvent[] = [];
      for (const event of parsed.events) {
        // A chunk is believed whole or not at all.
        const before = events.length;
        const reason = addEvent(event, events);
        if (reason === null) continue;
        events.length = before;
        return invalid(events, reason);
      }
      if (parsed.ok) return events;
      return invalid(events, parsed.reason === "tooLong" ? "lineTooLong" : "sse");
    },
    end() {
      if (isInvalid || isDone) return [];
      if (!hasEvents) return invalid([], "empty");
      return invalid([], state.finished.size < options.choices ? "noFinishReason" : "noDone");
    },
  };
}
