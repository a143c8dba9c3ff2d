import type { TurnRequest } from "../protocol/internal/turn-request.ts";
import { estimateMessages } from "../protocol/openai/chat-message.ts";
import type { JsonObject } from "../protocol/json.ts";

function isMessage(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/**
 * Prompt tokens that a conversation's home shard is thought to have: all up to and with its last answer. 0 without a home, where
 * nothing is known. Estimated (characters / 4).
 */
export function warmTokens({ affinity, engine }: TurnRequest): number {
  const { messages } = engine.body;
  if (affinity.homeShard === null || !Array.isArray(messages)) return 0;
  const last = messages.findLastIndex(
    (message: unknown) => isMessage(message) && message["role"] === "assistant",
  );
  return estimateMessages(messages.slice(0, last + 1).filter(isMessage));
}
