import type { TurnEnding } from "#shared/conversation/turn-rendering.ts";
import type { TurnRequest } from "#shared/protocol/internal/turn-request.ts";
import type { ShardId } from "#shared/residency/brands.ts";
import type { FrameLog } from "./frame-log.ts";
import type { RunningTurn } from "./running-turn.ts";

/**
 * What is kept of a turn that has ended, for those who ask what it came to: its frames and its end. The machine that ran it, and with
 * it the prompt, is let go: a busy cell remembers tens of thousands.
 */
export class EndedTurn implements RunningTurn {
  readonly request: TurnRequest;
  readonly frames: FrameLog;
  readonly #ending: TurnEnding;
  readonly #shard: ShardId | null;
  readonly #hasBegun: boolean;
  #readers = 0;

  /** Of a turn that nobody reads at this moment. */
  constructor(turn: RunningTurn, ending: TurnEnding) {
    this.request = turn.request;
    this.frames = turn.frames;
    this.#ending = ending;
    this.#shard = turn.shard();
    this.#hasBegun = turn.hasBegun();
  }

  begun(): Promise<void> {
    return Promise.resolve();
  }
  ended(): Promise<TurnEnding> {
    return Promise.resolve(this.#ending);
  }
  ending(): TurnEnding {
    return this.#ending;
  }
  hasBegun(): boolean {
    return this.#hasBegun;
  }
  shard(): ShardId | null {
    return this.#shard;
  }
  expectedWaitMs(): null {
    return null;
  }
  readerCount(): number {
    return this.#readers;
  }
  attach(): () => void {
    let isAttached = true;
    this.#readers += 1;
    return () => {
      if (isAttached) this.#readers -= 1;
      isAttached = false;
    };
  }
  // Nothing happens to a turn that has ended.
  tick(): void {}
  abort(): void {}
  handOver(): void {}
  leaveShard(): void {}
}
