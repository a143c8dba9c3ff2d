import type { Capability } from "#shared/config/topology.ts";
import type { EngineEvent } from "#shared/protocol/engine-event.ts";
import { noUsage } from "#shared/protocol/usage.ts";
import type { Usage } from "#shared/protocol/usage.ts";
import type { Clock } from "../ports/clock.ts";
import type { Engine, EngineCall } from "../ports/engine.ts";

/** The gateway's own tenant: its prefix is cached apart from every customer's, and nobody is billed. */
const ownTenant = "meridian-warming";

/** What became of one warming prompt. */
export interface WarmingResult {
  readonly kind: "answered" | "cold" | "failed";
  readonly usage: Usage;
  /** What a cold shard's platform asked to wait, ms. */
  readonly retryAfterMs: number | null;
}

type Prompt = Pick<EngineCall, "path" | "body">;

/** The shortest prompt that a model with these capabilities answers, with one token at most. */
export function warmingPrompt(capabilities: readonly Capability[]): Prompt {
  if (capabilities.includes("chat")) {
    const messages = [{ role: "user", content: "ping" }];
    return { path: "chat/completions", body: { messages, max_tokens: 1, temperature: 0 } };
  }
  if (capabilities.includes("completions")) {
    return { path: "completions", body: { prompt: "ping", max_tokens: 1, temperature: 0 } };
  }
  return { path: "embeddings", body: { input: "ping" } };
}

/** Sends one, and tells of its first token; never rejects, and ends within `timeoutMs`. */
export async function sendWarmingPrompt(
  engine: Engine,
  prompt: Prompt,
  about: {
    readonly requestId: string;
    readonly traceparent: string;
    readonly jurisdiction: string;
    readonly timeoutMs: number;
    readonly onSpoke: () => void;
  },
  clock: Clock,
): Promise<WarmingResult> {
  const { jurisdiction, onSpoke, requestId, timeoutMs, traceparent } = about;
  let usage: Usage = noUsage;
  let hasSpoken = false;
  const spoke = (): void => {
    if (hasSpoken) return;
    hasSpoken = true;
    onSpoke();
  };
  const take = (event: EngineEvent): void => {
    if (event.kind === "delta") spoke();
    if (event.kind === "usage") ({ usage } = event);
  };
  const controller = new AbortController();
  const stop = clock.after(timeoutMs, () => controller.abort());
  const failure = await engine.run(
    {
      ...prompt,
      priority: "standard",
      tenant: ownTenant,
      jurisdiction,
      affinityKey: ownTenant,
      requestId,
      traceparent,
    },
    {
      events: (events) => {
        for (const event of events) take(event);
      },
      document(_body, given) {
        usage = given;
        spoke();
      },
      room: () => null,
    },
    controller.signal,
  );
  stop();
  if (failure?.reason === "cold") {
    return { kind: "cold", usage, retryAfterMs: failure.retryAfterMs ?? null };
  }
  return { kind: hasSpoken ? "answered" : "failed", usage, retryAfterMs: null };
}
