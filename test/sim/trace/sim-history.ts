import { chunkTokens } from "#dev/capacity/request-trace.ts";
import { historyBorder, savesPrefill } from "#shared/overload/history-border.ts";
import type { HistoryPiece } from "#shared/overload/history-border.ts";
import type { SimTurn } from "./sim-turn.ts";

/** What the conversations of a replay consist of, as far as their lengths show it. */
export interface SimHistory {
  /** A turn has come: what its prompt has beyond the last turn and its answer is a message of the user. */
  came(turn: SimTurn): void;
  /** A turn was answered. */
  answered(turn: SimTurn): void;
  /** Prompt tokens up to and with the last answer. */
  warmTokens(turn: SimTurn): number;
  /**
   * Cuts the turn's history to about `tokensMax` in whole steps, where that saves prefill; gives the prompt tokens that went.
   * `cachedTokens`: what its home has.
   */
  cut(turn: SimTurn, tokensMax: number, stepTokens: number, cachedTokens: number): number;
}

interface Conversation {
  /** Messages of user and assistant in turn. */
  pieces: HistoryPiece[];
  tokens: number;
  lastCutTokens: number | null;
}

/** Of a replay that has not begun. */
export function createSimHistory(): SimHistory {
  const conversations = new Map<number, Conversation>();
  const cutChunks = new Map<string, number>();

  function conversationOf({ arrival }: SimTurn): Conversation | null {
    return conversations.get(arrival.request.session) ?? null;
  }

  /** A chunk of a cut prompt is another one than that of the whole: below 0, where no trace has any. */
  function chunkOf(key: number, dropped: number): number {
    const name = `${key}/${dropped}`;
    const known = cutChunks.get(name) ?? -1 - cutChunks.size;
    cutChunks.set(name, known);
    return known;
  }

  function add(conversation: Conversation, tokens: number, isUser: boolean): void {
    conversation.pieces.push({ tokens, isUser, isInstruction: false });
    conversation.tokens += tokens;
  }

  return {
    came({ arrival: { request } }) {
      const { inputTokens, session } = request;
      if (session < 0) return;
      const known = conversations.get(session);
      // A prompt that is shorter than what came before has another history.
      const isOn = known !== undefined && known.tokens < inputTokens;
      const conversation: Conversation = isOn
        ? known
        : { pieces: [], tokens: 0, lastCutTokens: null };
      conversations.set(session, conversation);
      add(conversation, inputTokens - conversation.tokens, true);
    },
    answered(turn) {
      const conversation = conversationOf(turn);
      // A turn that came meanwhile has had it in its prompt.
      if (conversation?.tokens !== turn.arrival.request.inputTokens) return;
      add(conversation, turn.outputTokens, false);
    },
    warmTokens(turn) {
      const conversation = conversationOf(turn);
      const last = conversation?.pieces.at(-1)?.tokens ?? 0;
      return conversation === null || conversation.pieces.length < 2
        ? 0
        : conversation.tokens - last;
    },
    cut(turn, tokensMax, stepTokens, cachedTokens) {
      const conversation = conversationOf(turn);
      if (conversation === null) return 0;
      const { lastCutTokens, pieces } = conversation;
      conversation.lastCutTokens = null;
      const border = historyBorder(pieces, tokensMax, stepTokens);
      if (border === null || !savesPrefill(border, { cachedTokens, lastCutTokens })) return 0;
      conversation.lastCutTokens = border.targetTokens;
      const dropped = border.tokensBefore - border.tokensAfter;
      turn.inputTokens -= dropped;
      const first = Math.floor(dropped / chunkTokens);
      turn.chunks = turn.chunks
        .slice(first, first + Math.floor(turn.inputTokens / chunkTokens))
        .map((key) => chunkOf(key, dropped));
      return dropped;
    },
  };
}
