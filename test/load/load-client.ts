/** The load generator: a process that does one job per message and answers with what it counted. */
import { Agent, request } from "node:http";
import type { ClientRequest } from "node:http";

/** A series of requests. A rate of null is a closed loop of `connections`; else arrivals per second, open loop. */
export interface Job {
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
  readonly isStreamed: boolean;
  readonly kind: "closed" | "open" | "hold" | "drop";
  readonly connections: number;
  readonly perSecond: number;
  readonly seconds: number;
}

/** Counts and times of a series, ms. `whole` has status 2xx and a terminal marker. */
export interface Result {
  readonly sent: number;
  readonly whole: number;
  readonly elapsedMs: number;
  readonly latencyMs: readonly number[];
  readonly firstTokenMs: readonly number[];
  readonly perTokenMs: readonly number[];
  readonly firstFailure: string;
}

const agent = new Agent({ keepAlive: true, maxSockets: Infinity });
const held = new Set<ClientRequest>();

interface One {
  readonly isWhole: boolean;
  readonly totalMs: number;
  readonly firstMs: number;
  readonly failure: string;
}

function send(job: Job, onFirst?: () => void): Promise<One> {
  return new Promise((resolve) => {
    const from = performance.now();
    let firstMs = 0;
    let tail = "";
    const end = (isWhole: boolean, failure: string) =>
      resolve({ isWhole, totalMs: performance.now() - from, firstMs, failure });
    const call = request(
      job.url,
      {
        method: "POST",
        agent,
        headers: {
          "content-type": "application/json",
          "content-length": Buffer.byteLength(job.body),
          ...job.headers,
        },
      },
      (response) => {
        response.on("data", (data: Buffer) => {
          const text = data.toString("latin1");
          if (firstMs === 0 && (!job.isStreamed || text.includes('"content":"word'))) {
            firstMs = performance.now() - from;
            onFirst?.();
          }
          tail = (tail + text).slice(-4_000);
        });
        response.on("end", () => {
          const marker = job.isStreamed ? "data: [DONE]" : '"finish_reason":"stop"';
          const isWhole = response.statusCode === 200 && tail.includes(marker);
          end(isWhole, isWhole ? "" : `${response.statusCode} ${tail.slice(0, 300)}`);
        });
        response.on("error", (error) => end(false, error.message));
      },
    );
    call.on("error", (error) => end(false, error.message));
    if (job.kind === "hold") held.add(call);
    call.end(job.body);
  });
}

async function run(job: Job): Promise<Result> {
  const results: One[] = [];
  const from = performance.now();
  const until = from + job.seconds * 1000;
  if (job.kind === "closed") {
    const loop = async () => {
      while (performance.now() < until) results.push(await send(job));
    };
    await Promise.all(Array.from({ length: job.connections }, loop));
  } else {
    const pending: Promise<void>[] = [];
    const total = job.seconds * job.perSecond;
    await new Promise<void>((resolve) => {
      const timer = setInterval(() => {
        const due = Math.min(total, ((performance.now() - from) * job.perSecond) / 1000);
        while (pending.length < due) pending.push(send(job).then((one) => void results.push(one)));
        if (pending.length < total) return;
        clearInterval(timer);
        resolve();
      }, 1);
    });
    await Promise.all(pending);
  }
  const whole = results.filter(({ isWhole }) => isWhole);
  return {
    sent: results.length,
    whole: whole.length,
    elapsedMs: performance.now() - from,
    latencyMs: whole.map(({ totalMs }) => totalMs),
    firstTokenMs: whole.map(({ firstMs }) => firstMs),
    perTokenMs: whole.map(({ totalMs, firstMs }) => (totalMs - firstMs) / 64),
    firstFailure: results.find(({ isWhole }) => !isWhole)?.failure ?? "",
  };
}

/** Opens streams a few at a time and answers when each has its first token; they stay open until `drop`. */
async function hold(job: Job): Promise<Result> {
  const from = performance.now();
  let opened = 0;
  let firstFailure = "";
  const open = async () => {
    while (opened < job.connections) {
      opened += 1;
      await new Promise<void>((resolve) => {
        void send(job, resolve).then(({ failure }) => {
          if (failure !== "" && firstFailure === "") firstFailure = failure;
          resolve();
        });
      });
    }
  };
  await Promise.all(Array.from({ length: 16 }, open));
  const elapsedMs = performance.now() - from;
  const whole = firstFailure === "" ? opened : 0;
  return {
    sent: opened,
    whole,
    elapsedMs,
    latencyMs: [],
    firstTokenMs: [],
    perTokenMs: [],
    firstFailure,
  };
}

function drop(): Result {
  for (const call of held) call.destroy();
  held.clear();
  return {
    sent: 0,
    whole: 0,
    elapsedMs: 0,
    latencyMs: [],
    firstTokenMs: [],
    perTokenMs: [],
    firstFailure: "",
  };
}

process.on("message", (message) => {
  const job = message as Job;
  const done = job.kind === "hold" ? hold(job) : job.kind === "drop" ? drop() : run(job);
  void Promise.resolve(done).then((result) => process.send?.(result));
});
