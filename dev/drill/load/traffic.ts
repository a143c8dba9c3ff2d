import type { Timeline } from "../judge/timeline.ts";
import { goodCode } from "../judge/timeline.ts";
import type { Flow } from "./flow.ts";
import { sendStreamRequest } from "./stream-request.ts";
import type { StreamResult } from "./stream-request.ts";

/** Requests of one flow under way at most; what is due beyond is counted as `not_sent`, an error. */
const inFlightMax = 300;
/** A client of a drill waits as long as a patient person. */
const clientTimeoutMs = 30_000;
const tickMs = 10;
/** Tokens of an answer, uniform between the two. */
const answerTokensMin = 60;
const answerTokensMax = 140;

/** How clients of a flow behave. */
export interface Manner {
  /** Times the flow's own rate. */
  readonly rateFactor: number;
  /** How often a failed request is sent again, without regard to what the error says. */
  readonly retriesMax: number;
  readonly retryPauseMs: number;
}

/** Clients that do as they should. */
export const calm: Manner = { rateFactor: 1, retriesMax: 0, retryPauseMs: 0 };

/** Running clients. */
export interface Traffic {
  /** Whole seconds since the first request was due. */
  readonly second: () => number;
  setManner(flow: string, manner: Manner): void;
  /** Requests that were due, each counted once. */
  due(): number;
  /** Requests that were sent, repeats included. */
  tries(): number;
  inFlight(): number;
  /** Sends no more, and resolves when all that was sent has ended. */
  stop(): Promise<void>;
  /** Sends no more, and stops repeating. */
  halt(): void;
}

/** What traffic is sent to and told of. */
export interface TrafficDeps {
  readonly edgeUrl: string;
  readonly model: string;
  readonly random: () => number;
  readonly timeline: Timeline;
  /** Each request when it has ended for its client. */
  readonly onEnded: (flow: Flow, code: string) => void;
  /** Each answer that names the shard it came from. */
  readonly onShard: (flow: Flow, shard: string) => void;
}

/** The headers and body of a chat request, streamed. */
export function chatRequest(
  flow: Flow,
  model: string,
  prompt: { readonly text: string; readonly tokens: number; readonly isStored: boolean },
) {
  return {
    headers: {
      authorization: `Bearer ${flow.key}`,
      "content-type": "application/json",
      "x-meridian-priority": flow.priority,
    },
    body: JSON.stringify({
      model,
      stream: true,
      ...(prompt.isStored ? { store: true } : {}),
      messages: [{ role: "user", content: `${prompt.text} [[tokens:${prompt.tokens}]]` }],
    }),
  };
}

/**
 * Sends each flow at its rate, evenly spaced and whatever comes back: an open loop, so that a slow system gets no less to do.
 * Even spacing makes the number of requests in a window the same before and after a fault.
 */
export function startTraffic(flows: readonly Flow[], deps: TrafficDeps): Traffic {
  const startedAt = performance.now();
  const manners = new Map(flows.map((flow) => [flow.name, calm]));
  const owedOf = new Map(flows.map((flow) => [flow.name, 0]));
  const inFlightOf = new Map(flows.map((flow) => [flow.name, 0]));
  const pending = new Set<Promise<void>>();
  let due = 0;
  let tries = 0;
  let prompts = 0;
  let isHalted = false;
  let lastTickAt = startedAt;

  const second = (): number => Math.floor((performance.now() - startedAt) / 1_000);

  async function runOne(flow: Flow, sentSecond: number): Promise<void> {
    const sentAt = performance.now();
    prompts += 1;
    const spread = answerTokensMax - answerTokensMin;
    const tokens = answerTokensMin + Math.floor(deps.random() * spread);
    const text = `Drill ${prompts} of ${flow.name}, number ${Math.floor(deps.random() * 1e9)}.`;
    const { headers, body } = chatRequest(flow, deps.model, { text, tokens, isStored: false });
    let result: StreamResult | null = null;
    let ttftMs: number | null = null;
    for (let retry = 0; ; retry += 1) {
      const tryAt = performance.now();
      tries += 1;
      result = await sendStreamRequest({
        url: `${deps.edgeUrl}/v1/chat/completions`,
        method: "POST",
        headers,
        body,
        timeoutMs: clientTimeoutMs,
        eventsMax: null,
      });
      if (result.shard !== null) deps.onShard(flow, result.shard);
      // Its user has waited since the first try.
      ttftMs = result.ttftMs === null ? null : result.ttftMs + (tryAt - sentAt);
      const { retriesMax, retryPauseMs } = manners.get(flow.name) ?? calm;
      if (result.code === goodCode || retry >= retriesMax || isHalted) break;
      await pause(retryPauseMs);
    }
    const isLate = result.code === goodCode && (ttftMs ?? 0) > flow.ttftMsMax;
    const code = isLate ? "late" : result.code;
    deps.timeline.ended({ flow: flow.name, sentSecond, code, ttftMs });
    deps.onEnded(flow, code);
  }

  function send(flow: Flow): void {
    const sentSecond = second();
    const { name } = flow;
    due += 1;
    deps.timeline.sent(name, sentSecond);
    const inFlight = inFlightOf.get(name) ?? 0;
    if (inFlight >= inFlightMax) {
      deps.timeline.ended({ flow: name, sentSecond, code: "not_sent", ttftMs: null });
      deps.onEnded(flow, "not_sent");
      return;
    }
    inFlightOf.set(name, inFlight + 1);
    const one = runOne(flow, sentSecond).finally(() => {
      inFlightOf.set(name, (inFlightOf.get(name) ?? 1) - 1);
      pending.delete(one);
    });
    pending.add(one);
  }

  const timer = setInterval(() => {
    const now = performance.now();
    const elapsedSeconds = (now - lastTickAt) / 1_000;
    lastTickAt = now;
    for (const flow of flows) {
      const factor = manners.get(flow.name)?.rateFactor ?? 1;
      let owed = (owedOf.get(flow.name) ?? 0) + elapsedSeconds * flow.perSecond * factor;
      for (; owed >= 1; owed -= 1) send(flow);
      owedOf.set(flow.name, owed);
    }
  }, tickMs);

  function halt(): void {
    isHalted = true;
    clearInterval(timer);
  }

  return {
    second,
    setManner: (flow, manner) => void manners.set(flow, manner),
    due: () => due,
    tries: () => tries,
    inFlight: () => pending.size,
    halt,
    async stop() {
      halt();
      await Promise.all(pending);
    },
  };
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms);
  });
}
