/** How one request of a flow ended. */
export interface Outcome {
  readonly flow: string;
  /** Second of the drill in which it was sent. */
  readonly sentSecond: number;
  /** `ok`; `late` for a whole answer whose first token came after the flow's bound; else an error code. */
  readonly code: string;
  /** Time to the first token, ms; null when none came. */
  readonly ttftMs: number | null;
}

/** What was sent in one second, and what became of it. */
export interface Second {
  sent: number;
  done: number;
  good: number;
  readonly ttftMs: number[];
  readonly codes: Record<string, number>;
}

/** Requests of a flow over some seconds. */
export interface Span {
  readonly sent: number;
  readonly done: number;
  readonly good: number;
  /** good / sent; null when nothing was sent. */
  readonly goodShare: number | null;
  readonly codes: Readonly<Record<string, number>>;
  readonly ttftMs: readonly number[];
}

/** Requests by flow and by the second in which they were sent. What was sent and has no outcome yet is not good. */
export interface Timeline {
  readonly flows: ReadonlyMap<string, readonly (Second | undefined)[]>;
  sent(flow: string, second: number): void;
  ended(outcome: Outcome): void;
}

/** The code of a good answer. */
export const goodCode = "ok";

/** An empty timeline of the flows named. */
export function createTimeline(flowNames: readonly string[]): Timeline {
  const flows = new Map<string, (Second | undefined)[]>(flowNames.map((name) => [name, []]));

  function secondOf(flow: string, second: number): Second {
    const seconds = flows.get(flow);
    if (seconds === undefined) throw new Error(`no flow ${flow}`);
    const found = seconds[second];
    if (found !== undefined) return found;
    const made: Second = { sent: 0, done: 0, good: 0, ttftMs: [], codes: {} };
    seconds[second] = made;
    return made;
  }

  return {
    flows,
    sent(flow, second) {
      secondOf(flow, second).sent += 1;
    },
    ended({ flow, sentSecond, code, ttftMs }) {
      const second = secondOf(flow, sentSecond);
      second.done += 1;
      second.codes[code] = (second.codes[code] ?? 0) + 1;
      if (code === goodCode) second.good += 1;
      if (ttftMs !== null) second.ttftMs.push(ttftMs);
    },
  };
}

/** The sum of a flow's seconds from `from` to before `to`. */
export function spanOf(timeline: Timeline, flow: string, from: number, to: number): Span {
  const seconds = timeline.flows.get(flow) ?? [];
  const codes: Record<string, number> = {};
  const ttftMs: number[] = [];
  let [sent, done, good] = [0, 0, 0];
  for (let at = Math.max(0, from); at < Math.min(to, seconds.length); at += 1) {
    const second = seconds[at];
    if (second === undefined) continue;
    sent += second.sent;
    done += second.done;
    good += second.good;
    ttftMs.push(...second.ttftMs);
    for (const [code, count] of Object.entries(second.codes))
      codes[code] = (codes[code] ?? 0) + count;
  }
  return { sent, done, good, goodShare: sent === 0 ? null : good / sent, codes, ttftMs };
}

/** The q-quantile of numbers, nearest rank; null of none. */
export function quantile(numbers: readonly number[], q: number): number | null {
  const sorted = numbers.toSorted((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(q * sorted.length) - 1)] ?? null;
}
