import { onTestFinished } from "vitest";
import OpenAI from "openai";
import {
  startSimulatedEngine,
  type SimulatedEngine,
  type StartOptions,
} from "#dev/simulated-engine/start.ts";

/** An engine that ends with the test. */
export async function anEngine(
  options: StartOptions = {},
): Promise<SimulatedEngine & { origin: string }> {
  const engine = await startSimulatedEngine({ profile: "cpu-test", ...options });
  onTestFinished(() => engine.close());
  return { ...engine, origin: engine.url.replace(/\/v1$/u, "") };
}

/** The official client, which repeats nothing. */
export function aClient(engine: { url: string }): OpenAI {
  return new OpenAI({ baseURL: engine.url, apiKey: "unused", maxRetries: 0 });
}

export const model = "sim/llama-3.1-8b-instruct";

/** A request for exactly `tokens` tokens. */
export function aChat(tokens: number, more: object = {}): object {
  return { model, messages: [{ role: "user", content: `say [[tokens:${tokens}]]` }], ...more };
}

export function post(url: string, body: unknown, init: RequestInit = {}): Promise<Response> {
  return fetch(url, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: typeof body === "string" ? body : JSON.stringify(body),
    ...init,
  });
}

export async function addFault(engine: { origin: string }, fault: object): Promise<void> {
  const response = await post(`${engine.origin}/control/faults`, fault);
  if (response.status !== 200) throw new Error(await response.text());
}

interface Recorded {
  readonly path: string;
  readonly headers: Readonly<Record<string, unknown>>;
  readonly body: unknown;
  readonly fault: string | null;
  readonly status: number | null;
  readonly tokens: number;
  readonly aborted: boolean;
  readonly startedAtMs: number;
  readonly endedAtMs: number | null;
  readonly abortedAtMs: number | null;
}

export async function requestsOf(engine: { origin: string }): Promise<Recorded[]> {
  const response = await fetch(`${engine.origin}/control/requests`);
  const { requests } = (await response.json()) as { requests: Recorded[] };
  return requests;
}

/** Polls until `probe` gives true; fails after 5 s. */
export async function until(probe: () => Promise<boolean>): Promise<void> {
  const deadlineMs = Date.now() + 5_000;
  while (!(await probe())) {
    if (Date.now() > deadlineMs) throw new Error("it did not happen within 5 s");
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** Value of one metric without regard to its labels. */
export async function metricOf(engine: { origin: string }, name: string): Promise<number> {
  const text = await (await fetch(`${engine.origin}/metrics`)).text();
  const line = text.split("\n").find((one) => one.startsWith(`${name}{`));
  return Number(line?.split(" ").at(-1) ?? Number.NaN);
}

/** What a client has read of a stream until its end, and how it ended. */
export async function readAll(
  response: Response,
): Promise<{ bytes: Buffer; text: string; failed: boolean }> {
  const parts: Uint8Array[] = [];
  let failed = false;
  try {
    if (response.body !== null) for await (const part of response.body) parts.push(part);
  } catch {
    failed = true;
  }
  const bytes = Buffer.concat(parts);
  return { bytes, text: bytes.toString("utf8"), failed };
}

export interface Chunk {
  readonly model?: string;
  readonly choices: readonly {
    readonly index: number;
    readonly delta: { readonly content?: string; readonly role?: string };
    readonly text?: string;
    readonly finish_reason: string | null;
    readonly token_ids?: readonly number[];
  }[];
  readonly prompt_token_ids?: readonly number[];
  readonly usage?: { readonly completion_tokens: number };
}

/** The JSON events of a stream. */
export function eventsOf(text: string): Chunk[] {
  return text
    .split("\n\n")
    .filter((event) => event.startsWith("data: {"))
    .map((event) => JSON.parse(event.slice(6)) as Chunk);
}

export function contentOf(text: string): string {
  return eventsOf(text)
    .map((chunk) => chunk.choices[0]?.delta?.content ?? chunk.choices[0]?.text ?? "")
    .join("");
}
