import type { Recorder } from "./recorder.ts";

/** What shards were asked for a turn. */
interface Generation {
  readonly promptKey: number;
  isDiverging: boolean;
  dispatches: number;
}

/** Watches what is generated: one prompt per turn, one start per attempt and life of a cell. */
export class Generations {
  readonly #recorder: Recorder;
  readonly #turns = new Map<string, Generation>();
  readonly #starts = new Map<string, number>();

  constructor(recorder: Recorder) {
    this.#recorder = recorder;
  }

  dispatched(turnId: string, promptKey: number, sample: string): void {
    const known = this.#turns.get(turnId);
    if (known === undefined) {
      this.#turns.set(turnId, { promptKey, isDiverging: sample !== "", dispatches: 1 });
      return;
    }
    this.#recorder.sometimes("a turn was dispatched again");
    known.dispatches += 1;
    known.isDiverging ||= sample !== "";
    this.#recorder.expect(
      known.promptKey === promptKey,
      "I-14",
      () => `${turnId}: its attempts were given different prompts`,
    );
  }

  /** A shard said something twice: what the turn's answer is now depends on whether that is found out. */
  repeated(turnId: string): void {
    const known = this.#turns.get(turnId);
    if (known !== undefined) known.isDiverging = true;
  }

  /** I-12: a delivered attempt starts once in a cell's life. */
  started(cellLife: string, turnId: string, attempt: number): void {
    const key = `${cellLife} ${turnId} ${attempt}`;
    const count = (this.#starts.get(key) ?? 0) + 1;
    this.#starts.set(key, count);
    this.#recorder.expect(count === 1, "I-12", () => `${key} was started ${count} times`);
  }

  /** The prompt that the turn was asked with, when every shard answered it alike. */
  promptOf(turnId: string): number | null {
    const known = this.#turns.get(turnId);
    return known === undefined || known.isDiverging ? null : known.promptKey;
  }

  isGenerated(turnId: string): boolean {
    return this.#turns.has(turnId);
  }
}
