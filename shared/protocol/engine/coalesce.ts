import type { DeltaEvent, EngineEvent } from "../engine-event.ts";

/** Characters from which on a piece takes no more: a frame stays far below every bound on what is kept or read at once. */
const joinedCharactersMax = 2_048;

/**
 * The same answer in fewer pieces: neighbours of one choice that say text, or both reasoning, and nothing else become one.
 * For events that came together: what has not come is waited for no longer than before, and everything behind (the turn's
 * steps, frames, relays, the client's parser) is paid once for all of them. A cell that falls behind catches up by it.
 */
export function coalesce(events: readonly EngineEvent[]): readonly EngineEvent[] {
  if (events.length < 2) return events;
  const merged: EngineEvent[] = [];
  let run: DeltaEvent[] = [];
  let characters = 0;
  const close = (): void => {
    if (run.length > 0) merged.push(joined(run));
    run = [];
    characters = 0;
  };
  for (const event of events) {
    const [first] = run;
    if (event.kind !== "delta" || !isPlain(event)) {
      close();
      merged.push(event);
    } else {
      const added = (event.text ?? event.reasoning ?? "").length;
      const isFull = characters + added > joinedCharactersMax;
      if (first !== undefined && (isFull || !isAlike(first, event))) close();
      run.push(event);
      characters += added;
    }
  }
  close();
  return merged;
}

/** Whether a piece is text or reasoning alone, with or without its token ids. */
function isPlain(piece: DeltaEvent): boolean {
  const { finishReason, logprobs, reasoning, refusal, text, toolCalls } = piece;
  const isOther =
    finishReason !== undefined ||
    logprobs !== undefined ||
    refusal !== undefined ||
    toolCalls !== undefined;
  return !isOther && (text === undefined) !== (reasoning === undefined);
}

/** Pieces whose token ids are not known may not be joined with pieces whose are: these are counted. */
function isAlike(one: DeltaEvent, other: DeltaEvent): boolean {
  return (
    one.choice === other.choice &&
    (one.text === undefined) === (other.text === undefined) &&
    (one.tokenIds === undefined) === (other.tokenIds === undefined)
  );
}

function joined(run: readonly DeltaEvent[]): DeltaEvent {
  const [first] = run;
  if (first === undefined || run.length === 1) return first ?? { kind: "delta", choice: 0 };
  const pieces = run.reduce((sum, piece) => sum + (piece.pieces ?? 1), 0);
  const said =
    first.text === undefined
      ? { reasoning: run.map(({ reasoning }) => reasoning).join("") }
      : { text: run.map(({ text }) => text).join("") };
  const ids =
    first.tokenIds === undefined ? {} : { tokenIds: run.flatMap(({ tokenIds }) => tokenIds ?? []) };
  return { kind: "delta", choice: first.choice, ...said, ...ids, pieces };
}
