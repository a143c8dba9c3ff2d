import type { ContinuationAbility } from "#shared/conversation/continuation.ts";
import { unlimitedConditions } from "#shared/conversation/turn-conditions.ts";
import type { TurnConditions } from "#shared/conversation/turn-conditions.ts";
import type { TurnEffect, TurnEvent } from "#shared/conversation/turn-events.ts";
import type { ShardFailure } from "#shared/conversation/turn-failure.ts";
import { defaultTurnPolicy } from "#shared/conversation/turn-policy.ts";
import { stepTurn } from "#shared/conversation/turn-runner.ts";
import { initialTurnState } from "#shared/conversation/turn-state.ts";
import type { TurnState } from "#shared/conversation/turn-state.ts";
import type { EngineEvent } from "#shared/protocol/engine-event.ts";
import type { TurnRequest } from "#shared/protocol/internal/turn-request.ts";
import type { ShardId } from "#shared/residency/brands.ts";

export const deadlineMs = 100_000;

export function aRequest(stream = true): TurnRequest {
  return {
    deadlineMs,
    rendering: { stream },
    resume: null,
    hop: 0,
    engine: { path: "chat/completions", model: "m", body: {}, promptTokensEstimate: 9 },
  } as unknown as TurnRequest;
}

export function shard(name: string): ShardId {
  return name as ShardId;
}

/** Feeds events one after the other, a millisecond apart, and keeps all effects. */
export class Run {
  state: TurnState = initialTurnState();
  effects: TurnEffect[] = [];
  reason = "";
  nowMs = 0;
  readonly request: TurnRequest;
  readonly conditions: TurnConditions;
  constructor(stream = true, conditions = unlimitedConditions) {
    this.request = aRequest(stream);
    this.conditions = conditions;
  }
  feed(...events: readonly TurnEvent[]): this {
    for (const event of events) {
      this.nowMs += 1;
      const step = stepTurn(
        this.state,
        event,
        this.request,
        this.nowMs,
        defaultTurnPolicy,
        this.conditions,
      );
      this.state = step.state;
      this.reason = step.reason;
      this.effects.push(...step.effects);
    }
    return this;
  }
  at(nowMs: number): this {
    this.nowMs = nowMs - 1;
    return this;
  }
  kinds(): string[] {
    return this.effects.map(({ kind }) => kind);
  }
  get failure() {
    return this.effects.find((effect) => effect.kind === "fail")?.error;
  }
}

export function chosen(name: string, ability: ContinuationAbility = "none"): TurnEvent {
  return {
    kind: "shardChosen",
    shard: shard(name),
    rejected: [],
    queueWaitMs: 0,
    ability,
    contextTokensMax: 1000,
  };
}
export function engine(event: EngineEvent, tryNumber = 1): TurnEvent {
  return { kind: "engine", try: tryNumber, event };
}
export function says(text: string, tryNumber = 1): TurnEvent {
  return engine({ kind: "delta", choice: 0, text }, tryNumber);
}
export function stops(tryNumber = 1): TurnEvent {
  return engine({ kind: "delta", choice: 0, finishReason: "stop" }, tryNumber);
}
export function failed(failure: ShardFailure, tryNumber = 1): TurnEvent {
  return { kind: "shardFailed", try: tryNumber, failure };
}
export const start: TurnEvent = { kind: "start" };
export const tick: TurnEvent = { kind: "tick", isPaused: false };
export const done = engine({ kind: "done" });
