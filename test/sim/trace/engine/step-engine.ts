import type { EngineProfile } from "#dev/simulated-engine/model/profiles.ts";
import { stepTimeMs } from "#dev/simulated-engine/model/step-time.ts";
import { chunkTokens } from "#dev/capacity/request-trace.ts";
import { blocksPerChunk, blockTokens, createChunkCache } from "./chunk-cache.ts";
import type { CachedChunk } from "./chunk-cache.ts";

/** Prefill tokens that one step takes at most: vLLM's `max_num_batched_tokens`. */
const prefillTokensPerStepMax = 2_048;

/** What an engine is made of. */
export interface StepEngineConfig {
  readonly profile: EngineProfile;
  /** Sequences that run at once; more of them wait. */
  readonly concurrentMax: number;
  /** Factor on the duration of a run of equal steps: the mean of `steps` draws around 1. */
  readonly noise: (steps: number) => number;
}

/** A prompt for the engine. */
export interface SequenceRequest {
  readonly id: number;
  readonly promptTokens: number;
  /** ≥ 1. */
  readonly outputTokens: number;
  /** Keys of the prompt's leading chunks; equal keys mean equal prefixes up to there. */
  readonly chunks: readonly number[];
}

/** What a run of steps did; its tokens exist at its end. */
export interface RunOutcome {
  /** First admissions in the run's first step, with the prompt tokens found in the cache. */
  readonly admitted: readonly { readonly id: number; readonly cachedTokens: number }[];
  /** Sequences that got their first token. */
  readonly started: readonly number[];
  /** Complete; their blocks are free. */
  readonly finished: readonly number[];
  readonly preempted: number;
}

/**
 * Continuous batching with chunked prefill, KV memory and prefix cache in virtual time. Steps that do the same are one run:
 * a decode batch goes on until one of it ends, so that a replay costs by the request and not by the token. A run ends early,
 * at the border of a step, when a prompt comes that could join.
 */
export interface StepEngine {
  /** End of the current run, ms; Infinity: idle. */
  endsAtMs(): number;
  /** Queues a prompt. False: it exceeds the whole memory and could never end. */
  submit(request: SequenceRequest, nowMs: number): boolean;
  /** Ends the run that is due and begins the next. */
  finishRun(): RunOutcome;
  /**
   * Takes a sequence out: at once if it waits, else at the border of the step that runs; its memory is free from then on, and
   * what it had computed of whole chunks stays cached. Gives the prompt tokens that were computed for it, those of the step
   * that runs included; 0 for one that is not here.
   */
  abort(id: number, nowMs: number): number;
  /** What its metrics would say. */
  load(): { readonly running: number; readonly waiting: number; readonly kvShare: number };
  /** Tokens that a sequence has got. */
  generatedOf(id: number, nowMs: number): number;
  /** Every step takes `factor` times as long from the next border on. */
  slow(factor: number, nowMs: number): void;
  /** Loses everything, memory included. */
  reset(): void;
  /** Milliseconds of steps so far. */
  busyMs(): number;
}

interface Sequence extends SequenceRequest {
  computed: number;
  generated: number;
  /** Tokens to compute before it decodes: the prompt, and after a preemption also what it had produced. */
  target: number;
  published: number;
  /** Prompt tokens that were in the cache when it was admitted. */
  found: number;
  isNew: boolean;
  /** Aborted: it goes at the end of the step. */
  isLeaving: boolean;
  ownBlocks: number;
  readonly shared: CachedChunk[];
}

interface Run {
  readonly startsAtMs: number;
  steps: number;
  /** Duration of the first step and growth of each next one, ms. */
  readonly firstMs: number;
  readonly growthMs: number;
  readonly prefills: readonly { readonly sequence: Sequence; readonly tokens: number }[];
  readonly decodes: readonly Sequence[];
  readonly admitted: readonly { readonly id: number; readonly cachedTokens: number }[];
  readonly preempted: number;
}

function blocksOf(tokens: number): number {
  return Math.ceil(tokens / blockTokens);
}

/** Time of the first `steps` steps of a run. */
function spanMs({ firstMs, growthMs }: Run, steps: number): number {
  return steps * firstMs + (growthMs * steps * (steps - 1)) / 2;
}

/** Whole steps of a run that are over. */
function stepsBy(run: Run, nowMs: number): number {
  let [low, high] = [0, run.steps];
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (run.startsAtMs + spanMs(run, middle) <= nowMs) low = middle;
    else high = middle - 1;
  }
  return low;
}

/** Makes an idle engine with empty memory. */
export function createStepEngine({ profile, concurrentMax, noise }: StepEngineConfig): StepEngine {
  const cache = createChunkCache(Math.floor(profile.kvTokens / blockTokens));
  const sequences = new Map<number, Sequence>();
  const waiting: Sequence[] = [];
  const running: Sequence[] = [];
  let run: Run | null = null;
  let slowness = 1;
  let busyMs = 0;
  // The head waits for memory: until some is given back there is no need to look again.
  let isHeadBlocked = false;
  let hasLeaving = false;

  function free(sequence: Sequence): void {
    for (let at = sequence.shared.length - 1; at >= 0; at -= 1) {
      const chunk = sequence.shared[at];
      if (chunk !== undefined) cache.release(chunk);
    }
    sequence.shared.length = 0;
    cache.give(sequence.ownBlocks);
    sequence.ownBlocks = 0;
    isHeadBlocked = false;
  }
  function leave(sequence: Sequence): void {
    running.splice(running.indexOf(sequence), 1);
    free(sequence);
  }
  function preempt(sequence: Sequence): void {
    leave(sequence);
    sequence.computed = 0;
    sequence.published = 0;
    sequence.isNew = false;
    waiting.unshift(sequence);
  }

  /** Admits the first that waits if it has room for its whole prompt; its leading chunks are read from the cache. */
  function admit(): Sequence | null {
    const sequence = waiting[0];
    if (sequence === undefined || isHeadBlocked) return null;
    const target = sequence.promptTokens + sequence.generated;
    // One token at least is computed: its logits give the next one.
    const usable = Math.min(sequence.chunks.length, Math.floor((target - 1) / chunkTokens));
    for (let at = 0; at < usable; at += 1) {
      const chunk = cache.acquire(sequence.chunks[at] ?? 0);
      if (chunk === null) break;
      sequence.shared.push(chunk);
    }
    const own = blocksOf(target) - sequence.shared.length * blocksPerChunk;
    if (own > cache.available()) {
      free(sequence);
      isHeadBlocked = true;
      return null;
    }
    cache.take(own);
    sequence.ownBlocks = own;
    sequence.target = target;
    sequence.published = sequence.shared.length;
    sequence.computed = sequence.published * chunkTokens;
    sequence.found = sequence.computed;
    waiting.shift();
    running.push(sequence);
    return sequence;
  }

  /** Blocks that a sequence lacks for so many tokens. */
  function missing({ shared, ownBlocks }: Sequence, tokens: number): number {
    return Math.max(0, blocksOf(tokens) - shared.length * blocksPerChunk - ownBlocks);
  }
  function hold(sequence: Sequence, tokens: number): void {
    const blocks = missing(sequence, tokens);
    cache.take(blocks);
    sequence.ownBlocks += blocks;
  }
  /** Blocks that `steps` more tokens of each decoding sequence need. */
  function growth(decodes: readonly Sequence[], steps: number): number {
    let blocks = 0;
    for (const sequence of decodes) blocks += missing(sequence, sequence.computed + steps);
    return blocks;
  }

  /** Steps that the batch can repeat as it is: until a prompt or an answer ends, or memory does. */
  function stepsOf(prefills: Run["prefills"], decodes: readonly Sequence[]): number {
    let steps = Infinity;
    const [first] = prefills;
    if (first !== undefined) {
      if (first.tokens < prefillTokensPerStepMax) return 1;
      steps = Math.floor((first.sequence.target - first.sequence.computed) / first.tokens);
    }
    for (const { generated, outputTokens } of decodes)
      steps = Math.min(steps, outputTokens - generated);
    while (steps > 1 && growth(decodes, steps) > cache.available()) steps = Math.ceil(steps / 2);
    return steps;
  }

  function begin(nowMs: number): void {
    run = null;
    let preempted = 0;
    const isDecoding = ({ computed, target }: Sequence): boolean => computed >= target;
    let decodes = running.filter(isDecoding);
    while (growth(decodes, 1) > cache.available()) {
      const newest = running.at(-1);
      if (newest === undefined) break;
      preempt(newest);
      preempted += 1;
      decodes = running.filter(isDecoding);
    }
    for (const sequence of decodes) hold(sequence, sequence.computed + 1);
    const prefills: { sequence: Sequence; tokens: number }[] = [];
    const admitted: { id: number; cachedTokens: number }[] = [];
    let left = prefillTokensPerStepMax;
    const prefill = (sequence: Sequence): void => {
      const tokens = Math.min(left, sequence.target - sequence.computed);
      if (tokens > 0) prefills.push({ sequence, tokens });
      left -= tokens;
    };
    for (const sequence of running) if (!isDecoding(sequence)) prefill(sequence);
    // Who was just preempted does not come back in the same step.
    while (preempted === 0 && left > 0 && running.length < concurrentMax) {
      const sequence = admit();
      if (sequence === null) break;
      if (sequence.isNew) admitted.push({ id: sequence.id, cachedTokens: sequence.computed });
      prefill(sequence);
    }
    if (prefills.length === 0 && decodes.length === 0) return;
    const steps = stepsOf(prefills, decodes);
    const load = {
      prefillTokens: prefillTokensPerStepMax - left,
      decodeSequences: decodes.length,
      kvTokensRead: decodes.reduce((sum, { computed }) => sum + computed, 0),
    };
    const factor = slowness * noise(steps);
    run = {
      startsAtMs: nowMs,
      steps,
      firstMs: factor * stepTimeMs(profile, load),
      growthMs: factor * profile.kvReadMsPerToken * decodes.length,
      prefills,
      decodes,
      admitted,
      preempted,
    };
  }

  /** Ends the run at the first border of a step that is not before now. */
  function cutAt(nowMs: number): void {
    if (run === null || run.steps === 1) return;
    const whole = stepsBy(run, nowMs);
    const isBorder = run.startsAtMs + spanMs(run, whole) === nowMs;
    run.steps = Math.min(run.steps, Math.max(1, isBorder ? whole : whole + 1));
  }

  function publish(sequence: Sequence): void {
    const { chunks, computed, shared } = sequence;
    while (
      sequence.published < chunks.length &&
      (sequence.published + 1) * chunkTokens <= computed
    ) {
      const chunk = cache.publish(chunks[sequence.published] ?? 0);
      sequence.published += 1;
      if (chunk === null) continue;
      shared.push(chunk);
      sequence.ownBlocks -= blocksPerChunk;
    }
  }

  return {
    endsAtMs: () => (run === null ? Infinity : run.startsAtMs + spanMs(run, run.steps)),
    submit(request, nowMs) {
      if (blocksOf(request.promptTokens + request.outputTokens) > cache.blocks) return false;
      const sequence: Sequence = {
        ...request,
        computed: 0,
        generated: 0,
        target: request.promptTokens,
        published: 0,
        found: 0,
        isNew: true,
        isLeaving: false,
        ownBlocks: 0,
        shared: [],
      };
      sequences.set(request.id, sequence);
      waiting.push(sequence);
      if (run === null) begin(nowMs);
      else if (waiting.length === 1 && running.length < concurrentMax) {
        const prefilled = run.prefills.reduce((sum, { tokens }) => sum + tokens, 0);
        if (prefilled < prefillTokensPerStepMax) cutAt(nowMs);
      }
      return true;
    },
    finishRun() {
      if (run === null) return { admitted: [], started: [], finished: [], preempted: 0 };
      const { startsAtMs, steps, prefills, decodes, admitted, preempted } = run;
      const takenMs = spanMs(run, steps);
      busyMs += takenMs;
      const started: number[] = [];
      const finished: number[] = [];
      const produce = (sequence: Sequence, tokens: number): void => {
        if (sequence.isLeaving) return;
        sequence.generated += tokens;
        if (sequence.generated < sequence.outputTokens) return;
        finished.push(sequence.id);
        sequences.delete(sequence.id);
        leave(sequence);
      };
      for (const sequence of decodes) {
        hold(sequence, sequence.computed + steps);
        sequence.computed += steps;
      }
      for (const sequence of decodes) produce(sequence, steps);
      for (const { sequence, tokens } of prefills) {
        sequence.computed += tokens * steps;
        publish(sequence);
        if (sequence.computed < sequence.target) continue;
        if (sequence.generated === 0 && !sequence.isLeaving) started.push(sequence.id);
        produce(sequence, 1);
      }
      if (hasLeaving)
        for (const sequence of running.filter((one) => one.isLeaving)) leave(sequence);
      hasLeaving = false;
      begin(startsAtMs + takenMs);
      return { admitted, started, finished, preempted };
    },
    abort(id, nowMs) {
      const sequence = sequences.get(id);
      if (sequence === undefined) return 0;
      sequences.delete(id);
      const place = waiting.indexOf(sequence);
      if (place >= 0) {
        waiting.splice(place, 1);
        isHeadBlocked = false;
        // Who was behind it may fit.
        if (place === 0) cutAt(nowMs);
        return 0;
      }
      sequence.isLeaving = true;
      hasLeaving = true;
      cutAt(nowMs);
      const now = run?.prefills.find((one) => one.sequence === sequence)?.tokens ?? 0;
      const computed = sequence.computed + now * (run?.steps ?? 0);
      return Math.max(0, Math.min(sequence.promptTokens, computed) - sequence.found);
    },
    load: () => ({
      running: running.length,
      waiting: waiting.length,
      kvShare: 1 - cache.available() / cache.blocks,
    }),
    generatedOf(id, nowMs) {
      const sequence = sequences.get(id);
      if (sequence === undefined) return 0;
      if (run === null || !run.decodes.includes(sequence)) return sequence.generated;
      return sequence.generated + stepsBy(run, nowMs);
    },
    slow(factor, nowMs) {
      slowness = factor;
      cutAt(nowMs);
    },
    reset() {
      run = null;
      sequences.clear();
      waiting.length = 0;
      running.length = 0;
      isHeadBlocked = false;
      hasLeaving = false;
      cache.clear();
    },
    busyMs: () => busyMs,
  };
}
