import { eventsOf } from "./sse-client.ts";
import type { ClientEvent } from "./sse-client.ts";

export type Api = "chat" | "responses";

/** An answer as a client understands it. */
export interface ReadAnswer {
  /** Its text, or the arguments of its tool calls. */
  readonly content: string;
  /** Whether it ended with its end marker. */
  readonly isWhole: boolean;
  readonly errorCode: string | null;
  readonly outputTokens: number | null;
  /** What a strict reader complains of: ids, numbers, roles, ends. Empty for a stream that is as it must be. */
  readonly faults: readonly string[];
}

interface ErrorBody {
  readonly error?: { readonly code: string; readonly message: string } | null;
}
interface ToolCall {
  readonly function: { readonly arguments?: string };
}
interface Completion extends ErrorBody {
  readonly choices: readonly {
    readonly message: {
      readonly content: string | null;
      readonly tool_calls?: readonly ToolCall[];
    };
  }[];
  readonly usage: { readonly completion_tokens: number };
}
interface Chunk extends ErrorBody {
  readonly id: string;
  readonly choices: readonly {
    readonly delta: {
      readonly role?: string;
      readonly content?: string | null;
      readonly tool_calls?: readonly ToolCall[];
    };
    readonly finish_reason: string | null;
  }[];
  readonly usage?: { readonly completion_tokens: number } | null;
}
interface OutputItem {
  readonly arguments?: string;
  readonly content?: readonly { readonly text?: string }[];
}
interface ResponseBody extends ErrorBody {
  readonly output: readonly OutputItem[];
  readonly usage: { readonly output_tokens: number };
}
interface ResponseEvent {
  readonly type: string;
  readonly sequence_number: number;
  readonly delta?: string;
  readonly code?: string;
  readonly response?: ResponseBody;
}

function argumentsOf(calls: readonly ToolCall[] | undefined): string {
  return (calls ?? []).map((call) => call.function.arguments ?? "").join("");
}

function outputText(output: readonly OutputItem[]): string {
  return output
    .map((item) => item.arguments ?? (item.content ?? []).map(({ text }) => text ?? "").join(""))
    .join("");
}

/** Reads an answer that was not streamed. */
export function readWhole(api: Api, text: string): ReadAnswer {
  const { error } = JSON.parse(text) as ErrorBody;
  if (error !== undefined && error !== null) {
    const { code } = error;
    return { content: "", isWhole: false, errorCode: code, outputTokens: null, faults: [] };
  }
  const whole = { isWhole: true, errorCode: null, faults: [] } as const;
  if (api === "chat") {
    const { choices, usage } = JSON.parse(text) as Completion;
    const message = choices[0]?.message;
    const content = (message?.content ?? "") + argumentsOf(message?.tool_calls);
    return { ...whole, content, outputTokens: usage.completion_tokens };
  }
  const { output, usage } = JSON.parse(text) as ResponseBody;
  return { ...whole, content: outputText(output), outputTokens: usage.output_tokens };
}

/** Reads a stream as strictly as no client does. */
export function readStream(api: Api, text: string): ReadAnswer {
  const events = eventsOf(text);
  const isGapless = events.every(({ id }, index) => id === String(index + 1));
  const read = api === "chat" ? readChat(events) : readResponse(events);
  return isGapless ? read : { ...read, faults: [...read.faults, "event ids have a gap"] };
}

function readChat(events: readonly ClientEvent[]): ReadAnswer {
  const chunks = events
    .filter(({ data }) => data !== "[DONE]")
    .map(({ data }) => JSON.parse(data) as Chunk);
  const errorCode = chunks.at(-1)?.error?.code ?? null;
  const answers = chunks.filter(({ error }) => error === undefined || error === null);
  const choices = answers.flatMap((chunk) => chunk.choices);
  const content = choices
    .map(({ delta }) => (delta.content ?? "") + argumentsOf(delta.tool_calls))
    .join("");
  const isWhole = events.at(-1)?.data === "[DONE]";
  const counts: readonly (readonly [string, number, number])[] = [
    ["ids", new Set(answers.map(({ id }) => id)).size, 1],
    ["roles", choices.filter(({ delta }) => delta.role !== undefined).length, 1],
    [
      "finish reasons",
      choices.filter((choice) => choice.finish_reason !== null).length,
      isWhole ? 1 : 0,
    ],
    ["ends", events.length - chunks.length, isWhole ? 1 : 0],
    ["ends or errors", (isWhole ? 1 : 0) + (errorCode === null ? 0 : 1), 1],
  ];
  return {
    content,
    isWhole,
    errorCode,
    outputTokens: answers.at(-1)?.usage?.completion_tokens ?? null,
    faults: counts
      .filter(([, got, wanted]) => got !== wanted)
      .map(([what, got]) => `${got} ${what}`),
  };
}

function readResponse(events: readonly ClientEvent[]): ReadAnswer {
  const parsed = events.map(({ data }) => JSON.parse(data) as ResponseEvent);
  const last = parsed.at(-1);
  const content = parsed
    .filter(({ type }) => /(?:text|arguments)\.delta$/.test(type))
    .map(({ delta }) => delta ?? "")
    .join("");
  const faults = parsed.every((event, index) => event.sequence_number === index)
    ? []
    : ["sequence numbers have a gap"];
  if (last?.type === "response.completed" && last.response !== undefined) {
    const { output, usage } = last.response;
    const isSame = outputText(output) === content;
    return {
      content,
      isWhole: true,
      errorCode: null,
      outputTokens: usage.output_tokens,
      faults: isSame ? faults : [...faults, "the response is not what its deltas were"],
    };
  }
  const errorCode = last?.code ?? last?.response?.error?.message.split(":")[0] ?? null;
  const silent = errorCode === null ? ["neither an end nor an error"] : [];
  return { content, isWhole: false, errorCode, outputTokens: null, faults: [...faults, ...silent] };
}
