import { setTimeout as wait } from "node:timers/promises";
import { quantile } from "../judge/timeline.ts";
import type { Flow } from "./flow.ts";
import { sendStreamRequest } from "./stream-request.ts";
import type { StreamResult } from "./stream-request.ts";
import { chatRequest } from "./traffic.ts";

/**
 * Reconnections under way at once. The edge of `npm run dev` is one thread behind wrangler's proxy: on two processors it replays
 * from fifty to a few hundred readers a second. With 200 at once everybody waited for 5 s, which is when kj's servers close a
 * connection whose request they have not read yet, and the proxy answered a third of them with 500.
 */
const readersMax = 48;
/** As a reader comes back that got no event: at once, then a few times more. */
const triesMax = 5;
const triesPauseMs = 500;
/** Streams that have ended before the herd comes; readers lack their last events. */
const endedStreams = 24;
const endedTokens = 150;
/** Streams that run while it comes: about a minute at half the speed of an H100. */
const runningStreams = 4;
const runningTokens = 3_000;
/** Events that a reader lacks at most. */
const lackMax = 20;
/** A reader of a running stream goes again after so many. */
const runningEventsMax = 3;
/** Share of readers of running streams. */
const runningShare = 0.25;
/** The herd waits for each other: the last of them may come late. */
const readerTimeoutMs = 60_000;
const streamTimeoutMs = 180_000;

/** A stored stream that readers come back to. */
export interface HerdStream {
  readonly id: string;
  readonly isRunning: boolean;
  /** Id of its last event so far. */
  lastId(): number;
}

/** Where the herd goes. */
export interface HerdTarget {
  readonly edgeUrl: string;
  readonly model: string;
  readonly flow: Flow;
  readonly random: () => number;
  /** Aborted when the drill is: no more readers come. */
  readonly signal: AbortSignal;
}

/** What became of the herd. */
export interface HerdCounts {
  readonly made: number;
  /** Those that went on with the event behind their last one, without a gap, at one of their tries. */
  readonly exact: number;
  /** Those of them that did so at once. */
  readonly exactAtOnce: number;
  readonly codes: Readonly<Record<string, number>>;
  readonly seconds: number;
  /** Time from a reader's first try to the end of its last answer, ms. */
  readonly p50Ms: number;
  readonly p99Ms: number;
}

/** Opens stored streams, `atOnce` at a time: some that end before this resolves, and some that go on. */
export async function openStreams(
  target: HerdTarget,
  atOnce: number,
): Promise<readonly HerdStream[]> {
  const streams: HerdStream[] = [];
  let left = endedStreams;
  const openEnded = async (): Promise<void> => {
    while (left > 0 && !target.signal.aborted) {
      left -= 1;
      const stream = await openStream(target, endedTokens);
      if (stream !== null) streams.push(stream);
    }
  };
  await Promise.all(Array.from({ length: atOnce }, openEnded));
  const running = Array.from({ length: runningStreams }, () => openRunning(target));
  for (const stream of await Promise.all(running)) if (stream !== null) streams.push(stream);
  return streams;
}

/** Reads a new stream to its end; null when it failed. */
async function openStream(target: HerdTarget, tokens: number): Promise<HerdStream | null> {
  const result = await send(target, tokens);
  const { code, lastId, streamId } = result;
  if (code !== "ok" || lastId === null || streamId === null) return null;
  return { id: streamId, isRunning: false, lastId: () => lastId };
}

/** Begins a long stream, whose owner reads on; resolves when readers have something to lack. */
function openRunning(target: HerdTarget): Promise<HerdStream | null> {
  return new Promise((resolve) => {
    let last = 0;
    let id: string | null = null;
    const ended = send(target, runningTokens, {
      onEvent(eventId) {
        last = eventId;
        if (last > lackMax && id !== null) resolve({ id, isRunning: true, lastId: () => last });
      },
      onStream(streamId) {
        id = streamId;
      },
    });
    void ended.then(() => resolve(null));
  });
}

function send(
  target: HerdTarget,
  tokens: number,
  listeners: Parameters<typeof sendStreamRequest>[1] = {},
) {
  const text = `Herd ${Math.floor(target.random() * 1e9)}.`;
  return sendStreamRequest(
    {
      url: `${target.edgeUrl}/v1/chat/completions`,
      method: "POST",
      ...chatRequest(target.flow, target.model, { text, tokens, isStored: true }),
      timeoutMs: streamTimeoutMs,
      eventsMax: null,
    },
    listeners,
  );
}

/** One try of a reader to go on behind an event. */
function reconnect(target: HerdTarget, stream: HerdStream, afterId: number): Promise<StreamResult> {
  return sendStreamRequest({
    url: `${target.edgeUrl}/v1/streams/${stream.id}`,
    method: "GET",
    headers: { authorization: `Bearer ${target.flow.key}`, "last-event-id": String(afterId) },
    body: null,
    timeoutMs: readerTimeoutMs,
    eventsMax: stream.isRunning ? runningEventsMax : null,
  });
}

/** Sends the readers, `readersMax` at a time and each at once when one before it has ended. */
export async function runReconnects(
  target: HerdTarget,
  streams: readonly HerdStream[],
  count: number,
): Promise<HerdCounts> {
  const codes: Record<string, number> = {};
  const timesMs: number[] = [];
  const from = performance.now();
  let started = 0;
  let made = 0;
  let exact = 0;
  let exactAtOnce = 0;
  const ended = streams.filter(({ isRunning }) => !isRunning);
  const running = streams.filter(({ isRunning }) => isRunning);

  async function reader(): Promise<void> {
    while (started < count && !target.signal.aborted) {
      started += 1;
      const among = target.random() < runningShare && running.length > 0 ? running : ended;
      const stream = among[Math.floor(target.random() * among.length)];
      if (stream === undefined) return;
      const afterId = Math.max(1, stream.lastId() - 1 - Math.floor(target.random() * lackMax));
      const beganAt = performance.now();
      for (let tries = 1; tries <= triesMax; tries += 1) {
        const result = await reconnect(target, stream, afterId);
        codes[result.code] = (codes[result.code] ?? 0) + 1;
        if (result.code === "ok") {
          const isExact = result.firstId === afterId + 1 && !result.hasGap;
          if (isExact) exact += 1;
          if (isExact && tries === 1) exactAtOnce += 1;
          break;
        }
        if (target.signal.aborted) break;
        await wait(triesPauseMs);
      }
      made += 1;
      timesMs.push(performance.now() - beganAt);
    }
  }
  await Promise.all(Array.from({ length: readersMax }, reader));
  return {
    made,
    exact,
    exactAtOnce,
    codes,
    seconds: (performance.now() - from) / 1_000,
    p50Ms: Math.round(quantile(timesMs, 0.5) ?? 0),
    p99Ms: Math.round(quantile(timesMs, 0.99) ?? 0),
  };
}
