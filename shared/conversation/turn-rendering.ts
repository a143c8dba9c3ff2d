import { invariant } from "../errors/invariant.ts";
import type { TurnEncoder } from "../protocol/encoder.ts";
import type { ClientFrame } from "../protocol/internal/stream.ts";
import type {
  ItemRecord,
  RejectedCandidate,
  TurnOutcome,
} from "../protocol/internal/turn-outcome.ts";
import type { Rendering, TurnRequest } from "../protocol/internal/turn-request.ts";
import type { JsonObject } from "../protocol/json.ts";
import type { CellId, RegionId } from "../residency/brands.ts";
import type { TurnEffect } from "./turn-events.ts";
import { choicesOf } from "./turn-choices.ts";
import { usageOf } from "./turn-state.ts";
import type { TurnState } from "./turn-state.ts";

/** The last of a turn: what is still to be sent, before and after the outcome, and the outcome itself. */
export interface TurnEnding {
  readonly frames: readonly ClientFrame[];
  readonly outcome: TurnOutcome;
  /** After the outcome: held by the edge until the turn is durable. */
  readonly terminal: readonly ClientFrame[];
  /** What a client that does not stream gets, as JSON text; null when the turn failed. */
  readonly body: string | null;
}

/** Turns a turn's effects into the client's protocol. Stateful like its encoder; free of clock and random. */
export interface TurnRendering {
  /** Frames of a `deliver`; none for a client that does not stream. */
  deliver(effect: TurnEffect & { kind: "deliver" }): readonly ClientFrame[];
  /** Forgets what was rendered. */
  restart(): void;
  /** Renders the last effect. */
  end(
    effect: TurnEffect & { kind: "finish" | "fail" },
    state: TurnState,
    nowMs: number,
  ): TurnEnding;
}

export interface RenderingInput {
  readonly request: TurnRequest;
  readonly cell: CellId;
  readonly region: RegionId;
  readonly createEncoder: (rendering: Rendering, choices: number) => TurnEncoder;
}

/** The rendering of one turn. */
export function createTurnRendering(input: RenderingInput): TurnRendering {
  const { request, createEncoder } = input;
  const { rendering, lane } = request;
  const isDurable = lane === "durable";
  let encoder: TurnEncoder | null = null;

  function open(frames: ClientFrame[]): TurnEncoder {
    if (encoder === null) {
      encoder = createEncoder(rendering, choicesOf(request.engine.path, request.engine.body));
      frames.push(...encoder.open());
    }
    return encoder;
  }

  function outcome(
    state: TurnState,
    nowMs: number,
    ending: Pick<TurnOutcome, "status" | "error" | "finishReasons" | "items" | "body">,
  ): TurnOutcome {
    const { firstTokenAtMs } = state;
    return {
      v: 1,
      turnId: request.turnId,
      attempt: request.attempt,
      cell: input.cell,
      region: input.region,
      shard: state.shard,
      rejected: listRejected(state.rejected),
      usage: usageOf(state, request),
      queueWaitMs: Math.max(0, state.queueWaitMs),
      ttftMs: firstTokenAtMs === null ? null : Math.max(0, firstTokenAtMs - state.dispatchedAtMs),
      totalMs: Math.max(0, nowMs - state.startedAtMs),
      ...ending,
    };
  }

  function finish(effect: TurnEffect & { kind: "finish" }): {
    readonly frames: readonly ClientFrame[];
    readonly terminal: readonly ClientFrame[];
    readonly body: JsonObject;
    readonly items: readonly ItemRecord[];
    readonly status: "completed" | "incomplete";
    readonly finishReasons: readonly string[];
  } {
    if (effect.document !== null) {
      const body = { ...effect.document, model: rendering.model };
      return { frames: [], terminal: [], body, items: [], status: "completed", finishReasons: [] };
    }
    const opening: ClientFrame[] = [];
    const answer = open(opening).finish(effect.usage);
    return { ...answer, frames: [...opening, ...answer.frames] };
  }

  return {
    deliver(effect) {
      const frames: ClientFrame[] = [];
      const current = open(frames);
      frames.push(...current.delta(effect.delta));
      return rendering.stream ? frames : [];
    },
    restart() {
      invariant(
        !rendering.stream,
        "an answer is begun anew only while its client has seen nothing",
      );
      encoder = null;
    },
    end(effect, state, nowMs) {
      if (effect.kind === "fail") {
        const { status, error } = effect;
        const isSeen = rendering.stream && encoder !== null;
        return {
          frames: [],
          outcome: outcome(state, nowMs, {
            status,
            error,
            finishReasons: [],
            items: [],
            body: null,
          }),
          terminal: isSeen && encoder !== null ? encoder.fail(error) : [],
          body: null,
        };
      }
      const { frames, terminal, body, items, status, finishReasons } = finish(effect);
      const text = JSON.stringify(body);
      return {
        frames: rendering.stream ? frames : [],
        outcome: outcome(state, nowMs, {
          status,
          error: null,
          finishReasons,
          items: isDurable ? items : [],
          body: isDurable ? text : null,
        }),
        terminal: rendering.stream ? terminal : [],
        body: text,
      };
    },
  };
}

/** Candidates that an outcome names: it also travels in a header, which must stay small. */
const rejectedMax = 64;

/** Each candidate once, with the first reason: a shard that failed is later passed over because it was tried. */
function listRejected(rejected: readonly RejectedCandidate[]): readonly RejectedCandidate[] {
  const first = new Map<string, RejectedCandidate>();
  for (const candidate of rejected) {
    if (!first.has(candidate.id)) first.set(candidate.id, candidate);
  }
  return [...first.values()].slice(0, rejectedMax);
}
