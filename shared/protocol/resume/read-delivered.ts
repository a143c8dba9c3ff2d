import type { DeltaEvent } from "../engine-event.ts";
import type { Rendering } from "../internal/turn-request.ts";
import type { Usage } from "../usage.ts";

/** What a client was given of an answer, as the engine's pieces that lead to the same frames. */
export interface DeliveredAnswer {
  readonly deltas: readonly DeltaEvent[];
  readonly usage: Usage | null;
}

/** Null: the frames cannot be rendered again, so that the answer cannot be continued. */
export function readDelivered(
  _rendering: Rendering,
  _choiceCount: number,
  _frames: string,
  _toSeq: number,
): DeliveredAnswer | null {
  return null;
}
