import type { JsonObject, JsonValue } from "../protocol/json.ts";
import { estimateMessages } from "../protocol/openai/chat-message.ts";
import { historyBorder } from "./history-border.ts";

/** A history after the cut; tokens are estimates (characters / 4). */
export interface CutHistory {
  readonly messages: readonly JsonValue[];
  /** Tokens that the history is to lose, a multiple of the step: the same for the next turns, until they outgrow it. */
  readonly targetTokens: number;
  readonly tokensBefore: number;
  readonly tokensAfter: number;
  /** Tokens of the leading instructions, which stay in front. */
  readonly leadingTokens: number;
}

function isMessage(value: JsonValue): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function roleOf(value: JsonValue | undefined): JsonValue | undefined {
  return value !== undefined && isMessage(value) ? value["role"] : undefined;
}

function isInstruction(value: JsonValue): boolean {
  const role = roleOf(value);
  return role === "system" || role === "developer";
}

function sizeOf(value: JsonValue): number {
  return isMessage(value) ? estimateMessages([value]) : 0;
}

/** Leaves out the oldest of `messages`, by historyBorder's rule, so that about `tokensMax` remain; null where nothing can go. */
export function cutHistory(
  messages: readonly JsonValue[],
  tokensMax: number,
  stepTokens: number,
): CutHistory | null {
  const pieces = messages.map((message) => ({
    tokens: sizeOf(message),
    isInstruction: isInstruction(message),
    isUser: roleOf(message) === "user",
  }));
  const cut = historyBorder(pieces, tokensMax, stepTokens);
  if (cut === null) return null;
  const { from, leading, leadingTokens, targetTokens, tokensAfter, tokensBefore } = cut;
  return {
    messages: [...messages.slice(0, leading), ...messages.slice(from)],
    targetTokens,
    tokensBefore,
    tokensAfter,
    leadingTokens,
  };
}
