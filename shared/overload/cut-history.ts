import type { JsonObject, JsonValue } from "../protocol/json.ts";
import { estimateMessages } from "../protocol/openai/chat-message.ts";

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

/**
 * Leaves out the oldest of `messages` so that about `tokensMax` remain, or null where nothing can go. Leading instructions stay,
 * the last message of the user and all behind it stay, and the history begins with a message of the user, so that no call is
 * parted from its output. What goes is rounded up to whole steps of `stepTokens` (a multiple of the engines' blocks of 16): the
 * border stays where it is for the turns to come, and with it the prefix that the engine has cached, until a step is used up.
 */
export function cutHistory(
  messages: readonly JsonValue[],
  tokensMax: number,
  stepTokens: number,
): CutHistory | null {
  const sizes = messages.map(sizeOf);
  const tokensBefore = sizes.reduce((sum, size) => sum + size, 0);
  if (tokensBefore <= tokensMax) return null;
  const firstOther = messages.findIndex((message) => !isInstruction(message));
  if (firstOther === -1) return null;
  const targetTokens = Math.ceil((tokensBefore - tokensMax) / stepTokens) * stepTokens;
  let border = firstOther;
  let dropped = 0;
  let droppedAtBorder = 0;
  for (let at = firstOther; at < messages.length && droppedAtBorder < targetTokens; at += 1) {
    if (at > firstOther && roleOf(messages[at]) === "user") {
      border = at;
      droppedAtBorder = dropped;
    }
    dropped += sizes[at] ?? 0;
  }
  if (border === firstOther) return null;
  const leading = messages.slice(0, firstOther);
  return {
    messages: [...leading, ...messages.slice(border)],
    targetTokens,
    tokensBefore,
    tokensAfter: tokensBefore - droppedAtBorder,
    leadingTokens: sizes.slice(0, firstOther).reduce((sum, size) => sum + size, 0),
  };
}
