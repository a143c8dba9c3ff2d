/** The load generator: a process that does one job per message and answers with what it counted. */
import { Agent, request } from "node:http";

/** A series of requests. A rate of null is a closed loop of `connections`; else arrivals per second, open loop. */
export interface Job {
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
  readonly isStreamed: boolean;
  readonly kind: "closed" | "open" | "hold" | "release" | "prepare";
  /** Whether each request goes on with a conversation that `prepare` made, in turn; else each makes its own. */
  readonly isContinued: boolean;
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

/** Connections of one series: workerd closes those that are idle for 5 s, and a pause between two series is longer. */
let agent = new Agent({ keepAlive: true, maxSockets: Infinity });

function renewConnections(): void {
  const free = Object.values(agent.freeSockets).flatMap((sockets) => sockets ?? []);
  for (const socket of free) socket.destroy();
  agent = new Agent({ keepAlive: true, maxSockets: Infinity });
}

const held: Promise<One>[] = [];
/** What `prepare` made: conversations with one turn. */
let conversations: string[] = [];
let count = 0;

/** A conversation's next message is one that it does not hold yet, so each request has a number of its own. */
function continued(job: Job): { readonly body: string; readonly headers: Job["headers"] } {
  count += 1;
  const body = job.body.replace("{{n}}", String(count));
  const id = job.isContinued ? conversations[count % conversations.length] : undefined;
  return id === undefined
    ? { body, headers: job.headers }
    : { body, headers: { ...job.headers, "x-meridian-conversation": id } };
}

interface One {
  readonly isWhole: boolean;
  readonly totalMs: number;
  readonly firstMs: number;
  readonly failure: string;
  readonly conversation: string;
}

function send(job: Job, onFirst?: () => void): Promise<One> {
  return new Promise((resolve) => {
    const from = performance.now();
    let firstMs = 0;
    let tail = "";
    let conversation = "";
    const { body, headers } = continued(job);
    const end = (isWhole: boolean, failure: string) =>
      resolve({ isWhole, totalMs: performance.now() - from, firstMs, failure, conversation });
    const call = request(
      job.url,
      {
        method: "POST",
        agent,
        headers: {
          "content-type": "application/json",
          "content-length": Buffer.byteLength(body),
          ...headers,
        },
      },
      (response) => {
        conversation = String(response.headers["x-meridian-conversation"] ?? "");
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
          end(isWhole, isWhole ? "" : `${response.statusCode} …${tail.slice(-400)}`);
        });
        response.on("error", (error) => end(false, error.message));
      },
    );
    call.on("error", (error) => end(false, error.message));
    call.end(body);
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
  return resultOf(results, performance.now() - from);
}

function resultOf(results: readonly One[], elapsedMs: number): Result {
  const whole = results.filter(({ isWhole }) => isWhole);
  return {
    sent: results.length,
    whole: whole.length,
    elapsedMs,
    latencyMs: whole.map(({ totalMs }) => totalMs),
    firstTokenMs: whole.map(({ firstMs }) => firstMs),
    perTokenMs: whole.map(({ totalMs, firstMs }) => (totalMs - firstMs) / 64),
    firstFailure: results.find(({ isWhole }) => !isWhole)?.failure ?? "",
  };
}

/** Makes as many conversations of one turn as the job has connections, 8 at a time. */
async function prepare(job: Job): Promise<Result> {
  const results: One[] = [];
  let begun = 0;
  const make = async () => {
    while (begun < job.connections) {
      begun += 1;
      results.push(await send(job));
    }
  };
  await Promise.all(Array.from({ length: 8 }, make));
  conversations = results.map(({ conversation }) => conversation);
  return resultOf(results, 0);
}

/** Opens streams, 16 at a time; answers, with no figures, when each has its first token. */
async function hold(job: Job): Promise<Result> {
  const from = performance.now();
  const open = async () => {
    while (held.length < job.connections) {
      await new Promise<void>((resolve) => {
        const ended = send(job, resolve);
        held.push(ended);
        void ended.then(() => resolve());
      });
    }
  };
  await Promise.all(Array.from({ length: 16 }, open));
  return resultOf([], performance.now() - from);
}

/** Waits for the end of every stream that is held: a turn of the durable lane outlives its client, so none is cut. */
async function release(): Promise<Result> {
  return resultOf(await Promise.all(held.splice(0)), 0);
}

function doerOf(kind: Job["kind"]): (job: Job) => Promise<Result> {
  if (kind === "prepare") return prepare;
  if (kind === "hold") return hold;
  return kind === "release" ? release : run;
}

process.on("message", (message) => {
  const job = message as Job;
  renewConnections();
  void doerOf(job.kind)(job).then((result) => process.send?.(result));
});
