import type { TurnRequest } from "../protocol/internal/turn-request.ts";

/** What of a turn's request shows how far its conversation has come. */
export type ConversationSigns = Pick<TurnRequest, "affinity" | "engine">;

/**
 * Whether a turn is the second or a later one of its conversation: it has a home shard, or its prompt holds an answer of the
 * assistant. Such a prompt's prefix is computed and paid for already. O(n) in the messages.
 */
export function isLaterTurn({ affinity, engine }: ConversationSigns): boolean {
  if (affinity.homeShard !== null) return true;
  const messages = engine.body["messages"];
  if (!Array.isArray(messages)) return false;
  return messages.some(
    (message: unknown) =>
      typeof message === "object" &&
      message !== null &&
      "role" in message &&
      message.role === "assistant",
  );
}
