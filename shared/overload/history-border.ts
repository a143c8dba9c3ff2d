/** One message of a history. */
export interface HistoryPiece {
  readonly tokens: number;
  /** Of the system or the developer. */
  readonly isInstruction: boolean;
  readonly isUser: boolean;
}

/** Where a history is cut. */
export interface HistoryBorder {
  /** Leading instructions: they stay in front. */
  readonly leading: number;
  /** The first message after them that stays. */
  readonly from: number;
  /** Tokens that the history is to lose, a multiple of the step: the same for the next turns, until they outgrow it. */
  readonly targetTokens: number;
  readonly tokensBefore: number;
  readonly tokensAfter: number;
  readonly leadingTokens: number;
}

/**
 * Finds the border that leaves about `tokensMax`, or null where nothing can go. Leading instructions stay, the last message of the
 * user and all behind it stay, and what is left begins with a message of the user, so that no call is parted from its output. What
 * goes is rounded up to whole steps of `stepTokens` (a multiple of the engines' blocks of 16): the border stays where it is for the
 * turns to come, and with it the prefix that the engine has cached, until a step is used up.
 */
export function historyBorder(
  pieces: readonly HistoryPiece[],
  tokensMax: number,
  stepTokens: number,
): HistoryBorder | null {
  const tokensBefore = pieces.reduce((sum, { tokens }) => sum + tokens, 0);
  if (tokensBefore <= tokensMax) return null;
  const leading = pieces.findIndex(({ isInstruction }) => !isInstruction);
  if (leading === -1) return null;
  const targetTokens = Math.ceil((tokensBefore - tokensMax) / stepTokens) * stepTokens;
  let from = leading;
  let dropped = 0;
  let droppedAtBorder = 0;
  for (let at = leading; at < pieces.length && droppedAtBorder < targetTokens; at += 1) {
    if (at > leading && pieces[at]?.isUser === true) {
      from = at;
      droppedAtBorder = dropped;
    }
    dropped += pieces[at]?.tokens ?? 0;
  }
  if (from === leading) return null;
  return {
    leading,
    from,
    targetTokens,
    tokensBefore,
    tokensAfter: tokensBefore - droppedAtBorder,
    leadingTokens: pieces.slice(0, leading).reduce((sum, { tokens }) => sum + tokens, 0),
  };
}

/**
 * Whether a cut saves prefill: a warm home computes little of a long history, and would compute all that a cut leaves; unless the
 * conversation's last cut had the same border, which is what is cached then.
 */
export function savesPrefill(
  cut: Pick<HistoryBorder, "targetTokens" | "tokensBefore" | "tokensAfter" | "leadingTokens">,
  known: { readonly cachedTokens: number; readonly lastCutTokens: number | null },
): boolean {
  const computed = cut.tokensAfter - cut.leadingTokens;
  return (
    known.lastCutTokens === cut.targetTokens || computed < cut.tokensBefore - known.cachedTokens
  );
}
