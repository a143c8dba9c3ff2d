import { canaryOf, isCanaryFit } from "#shared/health/canary-turn.ts";
import type { CanaryAnswer, CanaryVerdict } from "#shared/health/canary.ts";
import type { EngineEvent } from "#shared/protocol/engine-event.ts";
import type { JsonObject } from "#shared/protocol/json.ts";
import type { ShardId } from "#shared/residency/brands.ts";
import type { Clock } from "../ports/clock.ts";
import type { Engine, EngineCall } from "../ports/engine.ts";
import type { ShardStatus } from "../scheduler/shard-book.ts";

/** The gateway's own tenant: its prefixes are cached apart from every customer's, and nobody is billed. */
const ownTenant = "meridian-canary";
/** Harmless prompts whose answer at temperature 0 is always the same; short, so that a canary costs next to nothing. */
export const canaryPrompts = [
  "Count from one to ten in English words.",
  "Name the days of the week in order.",
  "Write the first ten prime numbers.",
  "Spell the word meridian backwards.",
  "List the planets of the solar system from the sun outwards.",
] as const;
const answerTokensMax = 16;
/** A shard that does not answer a canary in this time has not answered, ms. */
const canaryTimeoutMs = 15_000;

/** What a canary saw. */
export interface CanaryResult {
  readonly shard: ShardId;
  readonly verdict: CanaryVerdict;
  readonly promptTokens: number;
  readonly completionTokens: number;
  /** Null without an answer. */
  readonly ttftMs: number | null;
}

/** Asks shards for answers that are known. */
export interface Canaries {
  /** Asks the next shard the next prompt; resolves when it has answered or failed to, at once when none may be asked. */
  next(): Promise<void>;
}

export interface CanariesOptions {
  readonly engines: ReadonlyMap<ShardId, Engine>;
  readonly statuses: () => readonly ShardStatus[];
  /** Whether the model of a shard answers chats. */
  readonly isChat: (model: string) => boolean;
  readonly jurisdiction: string;
  readonly clock: Clock;
  readonly traceparent: () => string;
  readonly canaried: (shard: ShardId, prompt: number, answer: CanaryAnswer | null) => CanaryVerdict;
  readonly onResult: (result: CanaryResult) => void;
}

function bodyOf(prompt: string): JsonObject {
  return {
    messages: [{ role: "user", content: prompt }],
    temperature: 0,
    max_tokens: answerTokensMax,
    seed: 1,
  };
}

/** The answer's tokens where the engine names them, else its characters. */
function answerOf(events: readonly EngineEvent[]): CanaryAnswer | null {
  if (!events.some(({ kind }) => kind === "done")) return null;
  const deltas = events.filter((event) => event.kind === "delta");
  const ids = deltas.flatMap(({ tokenIds }) => tokenIds ?? []);
  if (ids.length > 0) return ids;
  return Array.from(deltas.map(({ text }) => text ?? "").join(""));
}

/**
 * The canaries of one cell: one prompt at a time, round its shards, those in quarantine included. They pass the book by: a
 * quarantined shard could not be asked otherwise, and one sequence of 16 tokens is no load.
 */
export function createCanaries(options: CanariesOptions): Canaries {
  const { canaried, clock, engines, isChat, jurisdiction, onResult, statuses, traceparent } =
    options;
  let turn = 0;
  let isAsking = false;

  async function ask(engine: Engine, prompt: number): Promise<void> {
    const events: EngineEvent[] = [];
    const beganAtMs = clock.nowMs();
    let firstAtMs: number | null = null;
    const call: EngineCall = {
      path: "chat/completions",
      body: bodyOf(canaryPrompts[prompt] ?? canaryPrompts[0]),
      tenant: ownTenant,
      jurisdiction,
      affinityKey: ownTenant,
      priority: "standard",
      requestId: `canary_${turn}`,
      traceparent: traceparent(),
    };
    const controller = new AbortController();
    const stop = clock.after(canaryTimeoutMs, () => controller.abort());
    const failure = await engine.run(
      call,
      {
        events(more) {
          if (more.some(({ kind }) => kind === "delta")) firstAtMs ??= clock.nowMs();
          events.push(...more);
        },
        document: () => {},
        room: () => null,
      },
      controller.signal,
    );
    stop();
    // What a full or cold shard does not answer says nothing of its answers.
    if (failure?.reason === "saturated" || failure?.reason === "cold") return;
    const answer = failure === null ? answerOf(events) : null;
    const usage = events.find((event) => event.kind === "usage")?.usage;
    onResult({
      shard: engine.shard,
      verdict: canaried(engine.shard, prompt, answer),
      promptTokens: usage?.promptTokens ?? 0,
      completionTokens: usage?.completionTokens ?? 0,
      ttftMs: firstAtMs === null ? null : firstAtMs - beganAtMs,
    });
  }

  return {
    async next() {
      if (isAsking) return;
      const fit = statuses().filter((shard) => isCanaryFit(shard) && isChat(shard.model));
      const asked = canaryOf(fit, turn, canaryPrompts.length);
      const engine = asked === null ? undefined : engines.get(asked.shard.id);
      if (asked === null || engine === undefined) return;
      turn += 1;
      isAsking = true;
      try {
        await ask(engine, asked.prompt);
      } finally {
        isAsking = false;
      }
    },
  };
}
