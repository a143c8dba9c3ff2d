import type { EngineCall, EngineSink } from "#regional/ports/engine.ts";
import type { ShardFailure } from "#shared/conversation/turn-failure.ts";
import { coalesce } from "#shared/protocol/engine/coalesce.ts";
import { createEngineStreamReader } from "#shared/protocol/engine-stream.ts";
import type { JsonObject, JsonValue } from "#shared/protocol/json.ts";
import type { ShardId } from "#shared/residency/brands.ts";
import { canaryOf } from "../checkers/recorder.ts";
import { hash32 } from "../random.ts";
import { answerTokens } from "./text.ts";
import type { World } from "./world.ts";

/** First token id of an answer; those of prompts are lower. */
const answerIdBase = 1_000_000;
const promptIdBits = 16;

/** A dispatch as the shard understands it. */
interface Prompt {
  readonly key: number;
  /** Tokens of the answer that came with the prompt. */
  readonly begun: number;
  readonly isChat: boolean;
}

function messagesOf(body: JsonObject): readonly JsonValue[] {
  return Array.isArray(body["messages"]) ? body["messages"] : [];
}

/** How many of the answer's first tokens make up `text`; null when they do not. */
function tokensIn(tokens: readonly string[], text: string): number | null {
  let length = 0;
  let count = 0;
  while (length < text.length && count < tokens.length) {
    length += (tokens[count] as string).length;
    count += 1;
  }
  return tokens.slice(0, count).join("") === text ? count : null;
}

/** One engine: says the same of the same prompt as the others, goes on from a prefix, and fails in every way of the catalogue. */
export class Shard {
  readonly id: ShardId;
  readonly zone: string;
  readonly #world: World;
  running = 0;
  /** Ends all that runs; a restart. */
  readonly #aborts = new Set<() => void>();

  constructor(world: World, id: ShardId, zone: string) {
    this.#world = world;
    this.id = id;
    this.zone = zone;
  }

  #downUntilMs = 0;

  /** Whether nothing answers there. */
  get isDown(): boolean {
    const { faults, kernel } = this.#world;
    return !faults.isHealed && kernel.nowMs < this.#downUntilMs;
  }

  goDown(ms: number): void {
    this.#downUntilMs = this.#world.kernel.nowMs + ms;
    this.restart();
  }

  restart(): void {
    for (const abort of this.#aborts) abort();
  }

  #read(body: JsonObject, sample: string): Prompt | null {
    const prompt = body["prompt"];
    if (Array.isArray(prompt)) {
      const [high, low, ...begun] = prompt as number[];
      return {
        key: ((high ?? 0) << promptIdBits) | (low ?? 0),
        begun: begun.length,
        isChat: false,
      };
    }
    const messages = [...messagesOf(body)];
    if (body["continue_final_message"] !== true) {
      return { key: hash32(JSON.stringify(messages)) | 0, begun: 0, isChat: true };
    }
    const last = messages.pop();
    const content = (last as JsonObject | undefined)?.["content"];
    const text = typeof content === "string" ? content : "";
    const key = hash32(JSON.stringify(messages)) | 0;
    const begun = tokensIn(answerTokens(this.zone, key >>> 0, sample), text);
    return begun === null ? null : { key, begun, isChat: true };
  }

  /** Runs one prompt as an engine's adapter does: events into the sink, a failure or null at the end. */
  async run(
    call: EngineCall,
    turnId: string,
    sink: EngineSink,
    signal: AbortSignal,
  ): Promise<ShardFailure | null> {
    const { faults, kernel, recorder } = this.#world;
    const random = kernel.random(`shard.${this.zone}`);
    recorder.expect(
      !JSON.stringify(call.body).includes(canaryOf(this.zone === "eu" ? "us" : "eu")),
      "I-01",
      () => `${this.id} was given a prompt of another jurisdiction`,
    );
    await kernel.sleep(0.5 + random.unit() * 2, null, "shard.connect");
    if (signal.aborted) return { reason: "cut" };
    if (this.isDown || faults.fires("shard.refuses")) return { reason: "unreachable" };
    if (faults.fires("shard.serverError")) return { reason: "serverError", status: 500 };
    if (faults.fires("shard.saturated")) return { reason: "saturated", status: 429 };
    const isPrefix =
      call.body["continue_final_message"] === true || Array.isArray(call.body["prompt"]);
    if (isPrefix && faults.fires("shard.refusesPrefix")) {
      return { reason: "clientFault", status: 400, fault: { code: "invalid_request" } };
    }
    if (faults.fires("shard.clientFault")) {
      return { reason: "clientFault", status: 400, fault: { code: "context_length_exceeded" } };
    }
    const sample = faults.fires("shard.diverges") ? this.id : "";
    const prompt = this.#read(call.body, sample);
    if (prompt === null) {
      return { reason: "clientFault", status: 400, fault: { code: "invalid_request" } };
    }
    this.#world.generations.dispatched(turnId, prompt.key, sample);
    this.running += 1;
    try {
      return await this.#generate(prompt, sample, turnId, sink, signal);
    } finally {
      this.running -= 1;
    }
  }

  async #generate(
    prompt: Prompt,
    sample: string,
    turnId: string,
    sink: EngineSink,
    signal: AbortSignal,
  ): Promise<ShardFailure | null> {
    const { faults, kernel } = this.#world;
    const random = kernel.random(`shard.${this.zone}`);
    const path = prompt.isChat ? "chat/completions" : "completions";
    const reader = createEngineStreamReader({ path, choices: 1, model: null });
    const tokens = answerTokens(this.zone, prompt.key >>> 0, sample);
    const pace = faults.fires("shard.slow") ? 60 : 1;
    let stop: ShardFailure | "stall" | null = null;
    let wake = (): void => undefined;
    const abort = (): void => {
      stop ??= { reason: "cut" };
      wake();
    };
    signal.addEventListener("abort", abort, { once: true });
    if (signal.aborted) abort();
    this.#aborts.add(abort);
    const pause = (ms: number): Promise<void> =>
      new Promise((resolve) => {
        const timer = kernel.at(ms, null, "shard.token", resolve);
        wake = () => {
          timer.run = null;
          resolve();
        };
      });
    const say = (text: string): void => sink.events(coalesce(reader.push(text)));
    const chunk = (fields: object): string =>
      `data: ${JSON.stringify({ id: "x", object: "chunk", model: "sim", ...fields })}\n\n`;
    const piece = (text: string, ids: readonly number[], finish: string | null): string => {
      const said = prompt.isChat ? { delta: { content: text } } : { text };
      const choice = { index: 0, ...said, token_ids: ids, finish_reason: finish };
      const first = ids[0] === answerIdBase + prompt.begun;
      const promptIds = [(prompt.key >>> promptIdBits) & 0xffff, prompt.key & 0xffff];
      return chunk({ choices: [choice], ...(first ? { prompt_token_ids: promptIds } : {}) });
    };
    try {
      if (faults.fires("shard.stallsFirst")) await pause(600_000);
      await pause(5 + random.unit() * 60);
      for (let index = prompt.begun; index < tokens.length; index += 1) {
        if (stop !== null) return stop;
        if (faults.fires("shard.cuts")) return { reason: "cut" };
        if (faults.fires("shard.stalls")) await pause(600_000);
        if (faults.fires("shard.errorChunk"))
          say(chunk({ error: { message: "CUDA" }, choices: [] }));
        if (faults.fires("shard.garbage")) say('data: {"choices": [{"ind\n\n');
        if (faults.fires("shard.wrongModel")) say(chunk({ model: "other", choices: [] }));
        if (faults.fires("shard.cleanEnd")) break;
        const text = piece(tokens[index] as string, [answerIdBase + index], null);
        const isRepeated = faults.fires("shard.repeats");
        if (isRepeated) this.#world.generations.repeated(turnId);
        const cut = random.between(0, text.length);
        say(text.slice(0, cut));
        say(text.slice(cut) + (isRepeated ? text : ""));
        await pause(pace * (2 + random.unit() * 40));
        if (index === tokens.length - 1 && stop === null) {
          const completionTokens = tokens.length - prompt.begun;
          const usage = { prompt_tokens: 10 + prompt.begun, completion_tokens: completionTokens };
          say(piece("", [], "stop"));
          if (!faults.fires("shard.noUsage")) {
            const total = usage.prompt_tokens + completionTokens;
            say(chunk({ choices: [], usage: { ...usage, total_tokens: total } }));
          }
          say("data: [DONE]\n\n");
        }
      }
      if (prompt.begun >= tokens.length && stop === null) {
        say(piece("", [], "stop"));
        say("data: [DONE]\n\n");
      }
      sink.events(reader.end());
      return stop;
    } finally {
      this.#aborts.delete(abort);
    }
  }
}
