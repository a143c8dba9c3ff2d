import type { ErrorOutcome } from "../errors/gateway-error.ts";
import type { ClientFrame } from "./internal/stream.ts";
import type { ItemRecord } from "./internal/turn-outcome.ts";
import type { DeltaEvent } from "./engine-event.ts";
import type { JsonObject } from "./json.ts";
import type { Usage } from "./usage.ts";

/** A turn's answer, complete, in the client's protocol. */
export interface EncodedAnswer {
  /** Frames that precede the terminal one (last deltas, done events, the usage chunk). */
  readonly frames: readonly ClientFrame[];
  /** Held by the edge until the turn is durable: `[DONE]`, or `response.completed`. */
  readonly terminal: readonly ClientFrame[];
  /** What a not streamed client gets. */
  readonly body: JsonObject;
  /** The assistant's items, in order; empty for completions and embeddings. */
  readonly items: readonly ItemRecord[];
  readonly status: "completed" | "incomplete";
  readonly finishReasons: readonly string[];
}

/**
 * Renders one turn in the client's protocol. Stateful, free of clock and random; frames are numbered by the caller.
 * The same deltas give the same bytes whichever shard or attempt they came from.
 */
export interface TurnEncoder {
  /** Frames before the first delta: the role chunk, `response.created`. */
  open(): readonly ClientFrame[];
  delta(event: DeltaEvent): readonly ClientFrame[];
  /** Call once, after every choice has its finish reason. */
  finish(usage: Usage): EncodedAnswer;
  /** Frames that end a begun stream with an error: no `[DONE]`, no completed event. */
  fail(error: ErrorOutcome): readonly ClientFrame[];
}
