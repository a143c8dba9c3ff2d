/** Runs the step-time model in real time: sleeps until a step's end and hands out its tokens. */
import { performance } from "node:perf_hooks";
import type {
  AdmittedSequence,
  BatchEngine,
  SequenceRequest,
  StepOutcome,
} from "./model/batch-engine.ts";

interface SequenceListener {
  onAdmitted(admission: AdmittedSequence, modelMs: number): void;
  /** One more token exists. */
  onToken(modelMs: number): void;
  /** The model has produced everything it was asked for. */
  onFinished(modelMs: number): void;
  onPreempted(): void;
}

export interface Driver {
  /** Model time in ms: wall time times `speed`. */
  nowMs(): number;
  submit(request: Omit<SequenceRequest, "id">, listener: SequenceListener): number | "too-large";
  /** Frees slot and blocks at once; what was under way for it is dropped. */
  release(id: number): void;
  close(): void;
}

function after(run: () => void, waitMs: number): () => void {
  const timer = setTimeout(run, waitMs);
  return () => clearTimeout(timer);
}
function soon(run: () => void): () => void {
  const immediate = setImmediate(run);
  return () => clearImmediate(immediate);
}

/** Makes a driver of `engine`; `speed` times faster than the profile. */
export function createDriver(engine: BatchEngine, speed: number): Driver {
  const startedAt = performance.now();
  const listeners = new Map<number, SequenceListener>();
  let nextId = 0;
  let current: StepOutcome | undefined;
  let cancelTimer: (() => void) | undefined;
  let isClosed = false;
  // A step begins where the last one ended although the timer woke late, so that timers do not slow the engine.
  let freeAtMs = 0;

  const nowMs = (): number => (performance.now() - startedAt) * speed;

  function deliver(outcome: StepOutcome): void {
    for (const id of outcome.produced) listeners.get(id)?.onToken(outcome.endsAtMs);
    for (const id of outcome.finished) {
      const listener = listeners.get(id);
      listeners.delete(id);
      listener?.onFinished(outcome.endsAtMs);
    }
  }
  function begin(startMs: number): void {
    const outcome = engine.step(startMs);
    current = outcome;
    if (outcome === undefined) return;
    for (const admission of outcome.admitted)
      listeners.get(admission.id)?.onAdmitted(admission, outcome.startedAtMs);
    for (const id of outcome.preempted) listeners.get(id)?.onPreempted();
    const waitMs = (outcome.endsAtMs - nowMs()) / speed;
    // An immediate lets sockets breathe between steps that are already due.
    cancelTimer = waitMs > 0.5 ? after(end, waitMs) : soon(end);
  }
  function end(): void {
    cancelTimer = undefined;
    if (isClosed || current === undefined) return;
    const outcome = current;
    current = undefined;
    freeAtMs = outcome.endsAtMs;
    deliver(outcome);
    // After a pause of the whole process the lost time is lost, as on a real machine.
    if (nowMs() - freeAtMs > 100 * speed) freeAtMs = nowMs();
    begin(freeAtMs);
  }

  return {
    nowMs,
    submit(request, listener) {
      nextId += 1;
      const id = nextId;
      if (engine.submit({ ...request, id }) === "too-large") return "too-large";
      listeners.set(id, listener);
      // Deferred: requests that arrive together are admitted together.
      if (current === undefined && cancelTimer === undefined)
        cancelTimer = soon(() => {
          cancelTimer = undefined;
          if (!isClosed && current === undefined) begin(Math.max(nowMs(), freeAtMs));
        });
      return id;
    },
    release(id) {
      listeners.delete(id);
      engine.release(id);
    },
    close() {
      isClosed = true;
      cancelTimer?.();
    },
  };
}
