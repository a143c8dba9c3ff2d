import { invariant } from "../errors/invariant.ts";
import type { ErrorOutcome } from "../errors/gateway-error.ts";
import { errorFrame } from "../protocol/encoders/error-frame.ts";
import type { DeltaEvent } from "../protocol/engine-event.ts";
import type { TurnEncoder } from "../protocol/encoder.ts";
import { formatClientFrame } from "../protocol/internal/stream.ts";
import type { ClientFrame } from "../protocol/internal/stream.ts";
import type {
  ItemRecord,
  RejectedCandidate,
  TurnOutcome,
} from "../protocol/internal/turn-outcome.ts";
import type { Rendering, TurnRequest, TurnResume } from "../protocol/internal/turn-request.ts";
import type { JsonObject } from "../protocol/json.ts";
import type { CellId, RegionId } from "../residency/brands.ts";
import type { TurnEffect } from "./turn-events.ts";
import { framesAfter } from "./frames.ts";
import { choicesOf } from "./turn-choices.ts";
import { divergedError } from "./turn-failure.ts";
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
  /**
   * Frames of a `deliver`; none for a client that does not stream. Null when the client has other frames in their place.
   */
  deliver(effect: TurnEffect & { kind: "deliver" }): readonly ClientFrame[] | null;
  /**
   * Renders again what the client has of the turn, and returns what the same pieces of the engine make beyond that. What
   * these pieces do not make is compared when it comes.
   */
  resume(deltas: readonly DeltaEvent[], given: TurnResume): readonly ClientFrame[];
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
  /** Frames that the client has and that were not rendered again yet; the first has the seq `owedSeq`. */
  let owed: string[] = [];
  let owedSeq = 0;

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
    ending: Pick<TurnOutcome, "status" | "error" | "mayMove" | "finishReasons" | "items" | "body">,
  ): TurnOutcome {
    return {
      v: 1,
      turnId: request.turnId,
      attempt: request.attempt,
      cell: input.cell,
      region: input.region,
      shard: state.shard,
      model: request.engine.model,
      rejected: listRejected(state.rejected),
      usage: usageOf(state, request),
      queueWaitMs: Math.max(0, state.queueWaitMs),
      continuations: state.continuations,
      ttftMs: state.ttftMs === null ? null : Math.max(0, state.ttftMs),
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

  /** Those of `frames` that the client lacks, or null when it has others in their place. */
  function withoutOwed(frames: readonly ClientFrame[]): readonly ClientFrame[] | null {
    if (owed.length === 0) return frames;
    const again = frames.slice(0, owed.length);
    const isSame = again.every((frame, index) => {
      return formatClientFrame(owedSeq + index, frame) === owed[index];
    });
    if (!isSame) return null;
    owed = owed.slice(again.length);
    owedSeq += again.length;
    return frames.slice(again.length);
  }

  function failing(
    effect: {
      readonly status: "failed" | "cancelled";
      readonly error: ErrorOutcome;
      readonly mayMove: boolean;
    },
    state: TurnState,
    nowMs: number,
  ): TurnEnding {
    const { status, error, mayMove } = effect;
    const given = request.resume?.toSeq ?? 0;
    const isOpen = encoder !== null && owed.length === 0;
    const isSeen = rendering.stream && (encoder !== null || given > 0);
    return {
      frames: [],
      outcome: outcome(state, nowMs, {
        status,
        error,
        mayMove,
        finishReasons: [],
        items: [],
        body: null,
      }),
      terminal: !isSeen
        ? []
        : isOpen && encoder !== null
          ? encoder.fail(error)
          : [errorFrame(rendering.api, error, given + 1)],
      body: null,
    };
  }

  return {
    resume(deltas, given) {
      const opening: ClientFrame[] = [];
      const current = open(opening);
      const frames = [...opening, ...deltas.flatMap((delta) => current.delta(delta))];
      const count = given.toSeq - frames.length;
      if (count <= 0) return frames.slice(given.toSeq);
      owed = framesAfter(given.frames, frames.length)
        .split("\n\n")
        .slice(0, count)
        .map((block) => `${block}\n\n`);
      owedSeq = frames.length + 1;
      return [];
    },
    deliver(effect) {
      const frames: ClientFrame[] = [];
      const current = open(frames);
      frames.push(...current.delta(effect.delta));
      return rendering.stream ? withoutOwed(frames) : [];
    },
    restart() {
      invariant(
        !rendering.stream,
        "an answer is begun anew only while its client has seen nothing",
      );
      encoder = null;
    },
    end(effect, state, nowMs) {
      if (effect.kind === "fail") return failing(effect, state, nowMs);
      const { frames: all, terminal, body, items, status, finishReasons } = finish(effect);
      const frames = withoutOwed(all);
      if (frames === null) {
        const failed = { status: "failed", error: divergedError, mayMove: false } as const;
        return failing(failed, state, nowMs);
      }
      const text = JSON.stringify(body);
      return {
        frames: rendering.stream ? frames : [],
        outcome: outcome(state, nowMs, {
          status,
          error: null,
          mayMove: false,
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
