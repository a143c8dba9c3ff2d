import type { DecideCase } from "./cases.ts";

/** What a case cost. */
export interface DecideResult {
  readonly name: string;
  readonly decisions: number;
  /** Mean over the run, whatever else the machine did. */
  readonly microseconds: number;
  /** Mean of the fastest of {@link blocks} parts of the run: what the code takes when nothing interrupts it. */
  readonly fastestMicroseconds: number;
  /** Median over samples of a few decisions each, bytes. */
  readonly bytesAllocated: number;
  /** Of the heap after a full collection, from the first tenth of the run to its end, bytes. */
  readonly heapGrowthBytes: number;
}

/** What a measurement needs of the process. */
export interface DecideProcess {
  readonly nowMs: () => number;
  readonly heapUsedBytes: () => number;
  readonly collectGarbage: () => void;
}

/** Decisions of one sample of allocation: few, so that most samples see no collection. */
const sampleDecisions = 20;
const samples = 201;
const blocks = 20;

function median(values: readonly number[]): number {
  return values.toSorted((left, right) => left - right)[Math.floor(values.length / 2)] ?? 0;
}

function allocated(run: (count: number) => void, process: DecideProcess): number {
  const deltas: number[] = [];
  for (let sample = 0; sample < samples; sample += 1) {
    const before = process.heapUsedBytes();
    run(sampleDecisions);
    const delta = process.heapUsedBytes() - before;
    // A sample with a collection in it says nothing.
    if (delta >= 0) deltas.push(delta / sampleDecisions);
  }
  return Math.max(0, median(deltas));
}

/** Measures one case: a tenth of the run warms up, the rest is timed. */
export function measureCase(
  decideCase: DecideCase,
  decisions: number,
  process: DecideProcess,
): DecideResult {
  const run = decideCase.prepare();
  const warmUp = Math.ceil(decisions / 10);
  run(warmUp);
  const bytesAllocated = allocated(run, process);
  process.collectGarbage();
  const heapBefore = process.heapUsedBytes();
  const perBlock = Math.ceil((decisions - warmUp) / blocks);
  const tookMs: number[] = [];
  for (let block = 0; block < blocks; block += 1) {
    const startedAtMs = process.nowMs();
    run(perBlock);
    tookMs.push(process.nowMs() - startedAtMs);
  }
  const microseconds = (ms: number, count: number): number => (ms * 1_000) / count;
  const allMs = tookMs.reduce((sum, ms) => sum + ms, 0);
  process.collectGarbage();
  return {
    name: decideCase.name,
    decisions,
    microseconds: microseconds(allMs, blocks * perBlock),
    fastestMicroseconds: microseconds(Math.min(...tookMs), perBlock),
    bytesAllocated,
    heapGrowthBytes: process.heapUsedBytes() - heapBefore,
  };
}
