import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { breakerWeight, isAdmitting, stepBreaker, viewAt } from "#shared/breaker/breaker.ts";
import type { BreakerEvent } from "#shared/breaker/breaker.ts";
import { defaultBreakerPolicy } from "#shared/breaker/breaker-policy.ts";
import { newBreaker, parseBreakerState } from "#shared/breaker/breaker-state.ts";

const policy = { ...defaultBreakerPolicy, probeMsMax: 60_000 };
const startMs = 1_800_000_000_000;

/** The breaker's rules told the long way: a log of all that happened, and one mode. */
class ReferenceBreaker {
  mode: "closed" | "open" | "halfOpen" = "closed";
  trips = 0;
  #inRow = 0;
  #untilMs = 0;
  #openedAtMs = 0;
  /** Of the opening under way, and of the last one that was. */
  #isCutShort = false;
  #mayCutShort = true;
  #closedAtMs: number | null = null;
  #ends: { second: number; isFailure: boolean }[] = [];
  #probes = 0;
  #probesEndMs = 0;
  #successes = 0;

  advance(nowMs: number): void {
    if (this.mode === "open" && nowMs >= this.#untilMs) {
      this.mode = "halfOpen";
      this.#probes = 0;
      this.#successes = 0;
      this.#isCutShort = false;
    }
    if (this.mode === "halfOpen" && this.#probes > 0 && nowMs >= this.#probesEndMs)
      this.#probes = 0;
  }

  admits(): boolean {
    const places = this.#successes < 1 ? 1 : this.#successes < 3 ? 2 : 4;
    return this.mode === "closed" || (this.mode === "halfOpen" && this.#probes < places);
  }

  #open(nowMs: number): void {
    this.mode = "open";
    this.trips += 1;
    this.#openedAtMs = nowMs;
    this.#mayCutShort = !this.#isCutShort;
    this.#untilMs = nowMs + Math.min(120_000, 5_000 * 2 ** this.#inRow);
    this.#inRow += 1;
  }

  apply(event: BreakerEvent, nowMs: number): void {
    if (event.kind === "dispatch") {
      if (this.mode !== "halfOpen" || !this.admits()) return;
      this.#probes += 1;
      this.#probesEndMs = nowMs + policy.probeMsMax;
      return;
    }
    if (event.kind === "alive") {
      const isSoon = nowMs - this.#openedAtMs < 5_000;
      if (this.mode !== "open" || !this.#mayCutShort || isSoon) return;
      this.mode = "halfOpen";
      this.#probes = 0;
      this.#successes = 0;
      this.#isCutShort = true;
      return;
    }
    if (this.mode === "open" || event.trips !== this.trips) return;
    if (this.mode === "halfOpen") {
      if (event.kind === "failure") return this.#open(nowMs);
      this.#probes = Math.max(0, this.#probes - 1);
      if (event.kind === "success") this.#successes += 1;
      if (this.#successes < 5) return;
      this.mode = "closed";
      this.#closedAtMs = nowMs;
      this.#ends = [];
      return;
    }
    if (event.kind === "release") return;
    const second = Math.floor(nowMs / 1_000);
    this.#ends.push({ second, isFailure: event.kind === "failure" });
    const recent = this.#ends.filter((end) => end.second > second - 10);
    const failures = recent.filter((end) => end.isFailure).length;
    const isRow = this.#ends.length >= 5 && this.#ends.slice(-5).every((end) => end.isFailure);
    const isShare = recent.length >= 10 && failures * 2 >= recent.length;
    if (event.kind === "failure" && (isRow || isShare)) this.#open(nowMs);
    else if (this.#closedAtMs !== null && nowMs - this.#closedAtMs >= 120_000) {
      this.#inRow = 0;
      this.#isCutShort = false;
    }
  }
}

const moves = fc.array(
  fc.record({
    kind: fc.oneof(
      { weight: 3, arbitrary: fc.constant("dispatch" as const) },
      { weight: 3, arbitrary: fc.constant("success" as const) },
      { weight: 4, arbitrary: fc.constant("failure" as const) },
      { weight: 1, arbitrary: fc.constant("release" as const) },
      { weight: 1, arbitrary: fc.constant("alive" as const) },
    ),
    afterMs: fc.oneof(
      { weight: 6, arbitrary: fc.integer({ min: 0, max: 700 }) },
      { weight: 1, arbitrary: fc.integer({ min: 5_000, max: 130_000 }) },
    ),
    isLate: fc.nat({ max: 9 }).map((lot) => lot === 0),
    chance: fc.double({ min: 0, max: 0.999, noNaN: true }),
  }),
  { minLength: 20, maxLength: 120, size: "max" },
);

describe("stepBreaker", () => {
  it("does what a long-hand reference does, step by step", () => {
    const reasons = new Set<string>();
    fc.assert(
      fc.property(moves, (steps) => {
        let state = newBreaker();
        let nowMs = startMs;
        const reference = new ReferenceBreaker();
        for (const { kind, afterMs, isLate } of steps) {
          nowMs += afterMs;
          reference.advance(nowMs);
          expect(isAdmitting(state, nowMs)).toBe(reference.admits());
          const trips = isLate ? reference.trips - 1 : reference.trips;
          const event: BreakerEvent =
            kind === "dispatch" || kind === "alive" ? { kind } : { kind, trips };
          const step = stepBreaker(state, event, nowMs, () => 0.5, policy);
          state = step.state;
          reference.apply(event, nowMs);
          expect([state.kind, state.trips]).toEqual([reference.mode, reference.trips]);
          reasons.add(step.reason);
        }
      }),
      { numRuns: 300, seed: 1 },
    );
    // A run that never left "closed" would prove little.
    expect([...reasons].toSorted()).toEqual([
      "alive",
      "counted",
      "failureRatio",
      "failuresInRow",
      "late",
      "probeFailed",
      "probing",
      "recovered",
      "refused",
    ]);
  });

  it("keeps its laws: bounded openings, weights and buckets, plain JSON, views that change nothing", () => {
    fc.assert(
      fc.property(moves, (steps) => {
        let state = newBreaker();
        let nowMs = startMs;
        for (const { kind, afterMs, chance } of steps) {
          nowMs += afterMs;
          const before = viewAt(state, nowMs);
          const event: BreakerEvent =
            kind === "dispatch" || kind === "alive" ? { kind } : { kind, trips: before.trips };
          const step = stepBreaker(state, event, nowMs, () => chance, policy);
          state = step.state;
          expect(parseBreakerState(JSON.parse(JSON.stringify(state)))).toEqual(state);
          expect(viewAt(viewAt(state, nowMs), nowMs)).toEqual(viewAt(state, nowMs));
          const weight = breakerWeight(state, nowMs, policy);
          expect(weight).toBeGreaterThanOrEqual(0);
          expect(weight).toBeLessThanOrEqual(1);
          if (state.kind === "open" && before.kind !== "open") {
            expect(state.untilMs - nowMs).toBeGreaterThanOrEqual(4_000);
            expect(state.untilMs - nowMs).toBeLessThanOrEqual(144_000);
          }
          // It closes only out of half open, by a success.
          if (state.kind === "closed" && before.kind !== "closed") {
            expect([before.kind, kind]).toEqual(["halfOpen", "success"]);
          }
        }
      }),
      { numRuns: 200 },
    );
  });
});
