import { createEngineStreamReader } from "../protocol/engine-stream.ts";
import { isFields } from "../protocol/engine/fields.ts";
import { readUsage } from "../protocol/engine/read-usage.ts";
import type { Usage } from "../protocol/usage.ts";
import type { QuestionId } from "./probe-question.ts";

/** What an engine answered to one question, its text up to the asker's cap. */
export interface ProbeAnswer {
  readonly status: number;
  /** Of the answer's head; null without. */
  readonly loadHeader: string | null;
  readonly text: string;
}

/** The answers so far; null where none came. */
export type ProbeAnswers = Partial<Readonly<Record<QuestionId, ProbeAnswer | null>>>;

/** What an answer's status says: `taken`, `refused` for what was asked, `absent` for a route that is not there, or nothing. */
export type Verdict = "taken" | "refused" | "absent" | "none";

/**
 * How an answer counts. A full, failing or locked engine says nothing of its abilities: 401, 403, 429 and 5xx prove
 * neither one thing nor the other (501, which means a method that no resource has, aside; RFC 9110).
 */
export function verdictOf(answer: ProbeAnswer | null | undefined): Verdict {
  if (answer === null || answer === undefined) return "none";
  const { status } = answer;
  if (status === 200) return "taken";
  if (status === 400 || status === 422) return "refused";
  return [404, 405, 410, 501].includes(status) ? "absent" : "none";
}

/** What a stream told; nothing of it when any part may not be believed. */
export interface StreamFacts {
  readonly usage: Usage | null;
  readonly promptTokenIds: readonly number[];
  readonly tokenIds: readonly number[];
}

const noFacts: StreamFacts = { usage: null, promptTokenIds: [], tokenIds: [] };

/** Reads an answer as the stream of a chat, as strictly as the answers of prompts. */
export function readStreamFacts(answer: ProbeAnswer | null | undefined): StreamFacts {
  if (answer === null || answer === undefined || answer.status !== 200) return noFacts;
  const reader = createEngineStreamReader({ path: "chat/completions", choices: 1, model: null });
  const events = [...reader.push(answer.text), ...reader.end()];
  let usage: Usage | null = null;
  let promptTokenIds: readonly number[] = [];
  const tokenIds: number[] = [];
  for (const event of events) {
    // An answer of two tokens may have no text at all.
    if (event.kind === "invalid" && event.reason !== "empty") return noFacts;
    if (event.kind === "usage") ({ usage } = event);
    if (event.kind === "promptTokenIds") promptTokenIds = event.tokenIds;
    if (event.kind === "delta") tokenIds.push(...(event.tokenIds ?? []));
  }
  return { usage, promptTokenIds, tokenIds };
}

/** The JSON object of an answer of 200, or null. */
export function readDocument(
  answer: ProbeAnswer | null | undefined,
): Readonly<Record<string, unknown>> | null {
  if (answer === null || answer === undefined || answer.status !== 200) return null;
  try {
    const value: unknown = JSON.parse(answer.text);
    return isFields(value) ? value : null;
  } catch {
    return null;
  }
}

/** Prompt tokens that a whole answer counted, or null. */
export function promptTokensOf(answer: ProbeAnswer | null | undefined): number | null {
  const document = readDocument(answer);
  if (document === null || !Array.isArray(document["choices"])) return null;
  return readUsage(document["usage"])?.promptTokens ?? null;
}
