/**
 * Continuous batching with chunked prefill, paged KV memory, prefix cache, preemption and a waiting queue.
 * Knows nothing of HTTP, text, clocks or chance: time and noise are given to it, so that a simulator replays
 * traces in virtual time against the code that the HTTP process drives in real time.
 */
import { blockTokens, createBlockCache } from "./block-cache.ts";
import type { EngineProfile } from "./profiles.ts";
import { stepTimeMs } from "./step-time.ts";
import { createWaitingQueue, isBefore } from "./waiting-queue.ts";

/** Prefill tokens that one step takes at most: vLLM's `max_num_batched_tokens`, routing.md 14. */
const prefillTokensPerStepMax = 2_048;

export interface BatchEngineConfig {
  readonly profile: EngineProfile;
  /** Sequences that run at once; more of them wait. vLLM's `max_num_seqs`. */
  readonly concurrentMax: number;
  readonly kvTokens: number;
  /** Factor on each step's duration; 1 when absent. */
  readonly noise?: () => number;
}

export interface SequenceRequest {
  /** Chosen by the caller, unique among live sequences. */
  readonly id: number;
  readonly promptTokens: number;
  /** Tokens to produce; 0 is prefill only (embeddings). */
  readonly outputTokens: number;
  /** Lower is earlier. */
  readonly priority: number;
  /** Key of the block that holds tokens [16i, 16i+16) of prompt and output; 0 shares it with nobody. Must chain: equal keys mean equal prefixes. */
  readonly keyOfBlock: (blockIndex: number) => number;
}

export interface AdmittedSequence {
  readonly id: number;
  readonly cachedTokens: number;
  /** True when the sequence had been preempted before. */
  readonly isReadmission: boolean;
}

/** What one step does; its tokens exist at `endsAtMs`. */
export interface StepOutcome {
  readonly startedAtMs: number;
  readonly endsAtMs: number;
  readonly prefillTokens: number;
  readonly decodeSequences: number;
  readonly admitted: readonly AdmittedSequence[];
  /** Ids of the sequences that got one token each. */
  readonly produced: readonly number[];
  /** Ids of the sequences that are complete; their blocks are free already. */
  readonly finished: readonly number[];
  readonly preempted: readonly number[];
}

export interface EngineCounters {
  readonly running: number;
  readonly waiting: number;
  /** Share of blocks in use by running sequences, 0–1. */
  readonly kvUsage: number;
  readonly preemptions: number;
  /** Prompt tokens looked up in the prefix cache and found there. */
  readonly prefixQueries: number;
  readonly prefixHits: number;
}

export interface BatchEngine {
  /** Queues a sequence. `too-large`: prompt and output together exceed the whole KV memory, so it could never end. */
  submit(request: SequenceRequest): "queued" | "too-large";
  /** Ends a sequence early and frees its slot and blocks; false when it is not live. */
  release(id: number): boolean;
  /** Schedules and runs one step from `nowMs` on; undefined when there is nothing to do. O(running + admitted). */
  step(nowMs: number): StepOutcome | undefined;
  counters(): EngineCounters;
  /** Cached prompt tokens that the next sequence with these keys would find, without touching their age. */
  cachedTokens(keys: readonly number[]): number;
  clearCache(): void;
}

interface Sequence {
  readonly request: SequenceRequest;
  readonly priority: number;
  readonly order: number;
  state: "waiting" | "running" | "gone";
  computed: number;
  generated: number;
  published: number;
  wasPreempted: boolean;
  readonly blocks: number[];
}

/** Makes an idle engine. @throws RangeError when a bound is not positive. */
export function createBatchEngine(config: BatchEngineConfig): BatchEngine {
  if (!Number.isInteger(config.concurrentMax) || config.concurrentMax < 1)
    throw new RangeError(`concurrentMax: got ${config.concurrentMax}, wanted a positive integer`);
  const cache = createBlockCache(Math.floor(config.kvTokens / blockTokens));
  const live = new Map<number, Sequence>();
  const waiting = createWaitingQueue<Sequence>((sequence) => sequence.state === "waiting");
  // Kept in order of service, so that the last one is the newest of the least important: the one to preempt.
  const running: Sequence[] = [];
  let arrivals = 0;
  let waitingCount = 0;
  let preemptions = 0;
  let prefixQueries = 0;
  let prefixHits = 0;

  function freeBlocks(sequence: Sequence): void {
    // From the end: the tail of a chain is of no use without its head, so it is evicted first.
    for (let at = sequence.blocks.length - 1; at >= 0; at -= 1)
      cache.release(sequence.blocks[at] ?? 0);
    sequence.blocks.length = 0;
    sequence.published = 0;
  }
  function leave(sequence: Sequence): void {
    const at = running.indexOf(sequence);
    if (at >= 0) running.splice(at, 1);
    freeBlocks(sequence);
  }
  function reserve(sequence: Sequence, tokens: number): boolean {
    const missing = Math.ceil(tokens / blockTokens) - sequence.blocks.length;
    if (missing > cache.freeBlocks()) return false;
    for (let count = 0; count < missing; count += 1) sequence.blocks.push(cache.allocate());
    return true;
  }
  function preempt(sequence: Sequence): void {
    leave(sequence);
    sequence.state = "waiting";
    sequence.computed = 0;
    sequence.wasPreempted = true;
    preemptions += 1;
    waitingCount += 1;
    waiting.push(sequence);
  }
  function takePrefix(sequence: Sequence, totalTokens: number): number {
    // At least one token is computed: its logits give the next one.
    const usable = Math.floor((totalTokens - 1) / blockTokens);
    for (let index = 0; index < usable; index += 1) {
      const block = cache.acquire(sequence.request.keyOfBlock(index));
      if (block < 0) break;
      sequence.blocks.push(block);
    }
    sequence.published = sequence.blocks.length;
    return sequence.blocks.length * blockTokens;
  }
  function admitNext(tokensMax: number): { sequence: Sequence; cachedTokens: number } | undefined {
    const sequence = waiting.peek();
    if (sequence === undefined) return undefined;
    const total = sequence.request.promptTokens + sequence.generated;
    const cachedTokens = takePrefix(sequence, total);
    if (!reserve(sequence, cachedTokens + Math.min(total - cachedTokens, tokensMax))) {
      freeBlocks(sequence);
      return undefined;
    }
    waiting.take();
    waitingCount -= 1;
    sequence.state = "running";
    sequence.computed = cachedTokens;
    let at = running.length;
    for (; at > 0; at -= 1) {
      const other = running[at - 1];
      if (other === undefined || isBefore(other, sequence)) break;
    }
    running.splice(at, 0, sequence);
    if (!sequence.wasPreempted) {
      prefixQueries += total;
      prefixHits += cachedTokens;
    }
    return { sequence, cachedTokens };
  }
  /** Marks computed tokens; returns whether the sequence got its next token. */
  function advance(sequence: Sequence, tokens: number): boolean {
    sequence.computed += tokens;
    while ((sequence.published + 1) * blockTokens <= sequence.computed) {
      const block = sequence.blocks[sequence.published] ?? 0;
      cache.publish(block, sequence.request.keyOfBlock(sequence.published));
      sequence.published += 1;
    }
    return sequence.computed === sequence.request.promptTokens + sequence.generated;
  }

  function step(nowMs: number): StepOutcome | undefined {
    const scheduled: { sequence: Sequence; tokens: number }[] = [];
    const preempted: number[] = [];
    const admitted: AdmittedSequence[] = [];
    let prefillLeft = prefillTokensPerStepMax;
    let decodeSequences = 0;
    let kvTokensRead = 0;
    for (let at = 0; at < running.length; at += 1) {
      const sequence = running[at];
      if (sequence === undefined) break;
      const missing = sequence.request.promptTokens + sequence.generated - sequence.computed;
      const isDecode = missing === 1 && sequence.generated > 0;
      const tokens = isDecode ? 1 : Math.min(missing, prefillLeft);
      if (tokens === 0) continue;
      let fits = reserve(sequence, sequence.computed + tokens);
      while (!fits) {
        const newest = running[running.length - 1];
        if (newest === undefined) break;
        preempt(newest);
        preempted.push(newest.request.id);
        if (newest === sequence) break;
        fits = reserve(sequence, sequence.computed + tokens);
      }
      if (!fits) break;
      if (isDecode) {
        decodeSequences += 1;
        kvTokensRead += sequence.computed;
      } else prefillLeft -= tokens;
      scheduled.push({ sequence, tokens });
    }
    // As vLLM: who was just preempted does not come back in the same step.
    while (preempted.length === 0 && prefillLeft > 0 && running.length < config.concurrentMax) {
      const admission = admitNext(prefillLeft);
      if (admission === undefined) break;
      const { sequence, cachedTokens } = admission;
      const total = sequence.request.promptTokens + sequence.generated;
      const tokens = Math.min(total - cachedTokens, prefillLeft);
      prefillLeft -= tokens;
      scheduled.push({ sequence, tokens });
      admitted.push({
        id: sequence.request.id,
        cachedTokens,
        isReadmission: sequence.wasPreempted,
      });
    }
    if (scheduled.length === 0) return undefined;

    const produced: number[] = [];
    const finished: number[] = [];
    for (const { sequence, tokens } of scheduled) {
      if (!advance(sequence, tokens)) continue;
      const { id, outputTokens } = sequence.request;
      if (outputTokens > 0) {
        sequence.generated += 1;
        produced.push(id);
      }
      if (sequence.generated < outputTokens) continue;
      finished.push(id);
      release(id);
    }
    const prefillTokens = prefillTokensPerStepMax - prefillLeft;
    const durationMs =
      stepTimeMs(config.profile, { prefillTokens, decodeSequences, kvTokensRead }) *
      (config.noise?.() ?? 1);
    return {
      startedAtMs: nowMs,
      endsAtMs: nowMs + durationMs,
      prefillTokens,
      decodeSequences,
      admitted,
      produced,
      finished,
      preempted,
    };
  }

  function release(id: number): boolean {
    const sequence = live.get(id);
    if (sequence === undefined) return false;
    live.delete(id);
    if (sequence.state === "waiting") waitingCount -= 1;
    leave(sequence);
    sequence.state = "gone";
    return true;
  }

  return {
    step,
    release,
    submit(request) {
      const tokens = request.promptTokens + request.outputTokens;
      if (Math.ceil(tokens / blockTokens) > cache.blocks || request.promptTokens < 1)
        return "too-large";
      arrivals += 1;
      const sequence: Sequence = {
        request,
        priority: request.priority,
        order: arrivals,
        state: "waiting",
        computed: 0,
        generated: 0,
        published: 0,
        wasPreempted: false,
        blocks: [],
      };
      live.set(request.id, sequence);
      waiting.push(sequence);
      waitingCount += 1;
      return "queued";
    },
    counters: () => ({
      running: running.length,
      waiting: waitingCount,
      kvUsage: 1 - cache.freeBlocks() / cache.blocks,
      preemptions,
      prefixQueries,
      prefixHits,
    }),
    cachedTokens(keys) {
      let found = 0;
      while (found < keys.length && cache.has(keys[found] ?? 0)) found += 1;
      return found * blockTokens;
    },
    clearCache: () => cache.clear(),
  };
}
