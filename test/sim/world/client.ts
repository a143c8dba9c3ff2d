import type { TurnId } from "#shared/residency/brands.ts";
import { canaryOf } from "../checkers/recorder.ts";
import type { RequestRecord } from "../checkers/conversations.ts";
import { Reader } from "../checkers/reader.ts";
import type { Process } from "../process.ts";
import type { ObjectNode } from "./object-node.ts";
import type { Pipe } from "./pipe.ts";
import { readStream } from "./read-stream.ts";
import { StatelessRequest } from "./stateless.ts";
import { DurableRequest } from "./worker.ts";
import type { Answer, ChatRequest } from "./worker.ts";
import type { World } from "./world.ts";

/** A client gives a request up after this long without an answer, ms. */
const patienceMs = 120_000;
const triesMax = 6;
/** Codes after which the same request may succeed. */
const passing = new Set([
  "no_capacity_in_jurisdiction",
  "saturated",
  "draining",
  "conversation_locked",
  "deadline_exceeded",
]);

/** One client: asks, reads, loses its connection, comes back with what it has, and says what it was told. */
export class Client {
  readonly name: string;
  readonly process: Process;
  readonly #world: World;

  constructor(world: World, process: Process) {
    this.#world = world;
    this.process = process;
    this.name = process.name;
  }

  /** A chat that nothing keeps: one connection, and what it says. */
  async chatStateless(object: ObjectNode, text: string, turnId: TurnId): Promise<void> {
    const { tenant } = object;
    const answer = await this.#ask("chat", (worker) =>
      new StatelessRequest(this.#world, worker, tenant, text, turnId).run(),
    );
    if (answer?.body == null) return;
    const reader = new Reader(this.#world, object, turnId);
    reader.isStateless = true;
    await this.#read(answer, object, reader);
    this.#world.recorder.sometimes("a stateless answer was whole", reader.end === "done");
    this.#world.recorder.sometimes(
      "a stateless answer ended with an error",
      reader.end === "error",
    );
  }

  /** A call to some Worker of the client's zone; null when no answer came. */
  async #ask(kind: string, run: (worker: Process) => Promise<Answer>): Promise<Answer | null> {
    const worker = this.#world.workerOf(this.process.zone);
    const reply = await this.#world.network.call({
      from: this.process,
      to: () => (worker.isAlive ? worker : null),
      toName: worker.name,
      toZone: worker.zone,
      kind,
      content: () => canaryOf(this.process.zone),
      timeoutMs: patienceMs,
      isOnce: true,
      handle: (at) => run(at),
    });
    return reply.ok ? reply.value : null;
  }

  /** One message with all that it takes to have its answer. */
  async chat(request: ChatRequest): Promise<RequestRecord> {
    const { conversations, faults, kernel, recorder } = this.#world;
    const record: RequestRecord = {
      object: request.object,
      text: request.text,
      key: request.key,
      body: request.body,
      told: "unknown",
      turnRandom: null,
      isOver: false,
    };
    conversations.requests.push(record);
    for (let tries = 0; tries < triesMax; tries += 1) {
      const answer = await this.#ask("chat", (worker) =>
        new DurableRequest(this.#world, worker, request).run(),
      );
      if (answer !== null) {
        await this.#take(answer, request, record);
        if (record.told !== "unknown") break;
      }
      if (request.key === null) break;
      recorder.sometimes("a client repeated its request");
      await kernel.sleep(
        300 + kernel.random("client").unit() * 1_000,
        this.process,
        "client.again",
      );
    }
    if (record.told === "ok" && request.key !== null && faults.fires("client.repeats")) {
      const again = await this.#ask("chat", (worker) =>
        new DurableRequest(this.#world, worker, request).run(),
      );
      if (again?.turnRandom != null && again.status === "ok") {
        recorder.expect(
          again.turnRandom === record.turnRandom,
          "I-08",
          () => `${request.key}: another turn ${again.turnRandom}`,
        );
        if (again.text !== null) conversations.bodyOf(request.object, again.turnRandom, again.text);
        if (again.body !== null)
          await this.#read(
            again,
            request.object,
            new Reader(this.#world, request.object, again.turnRandom),
          );
      }
    }
    record.isOver = true;
    return record;
  }

  async #take(answer: Answer, request: ChatRequest, record: RequestRecord): Promise<void> {
    const { conversations } = this.#world;
    const { object } = request;
    if (answer.turnRandom !== null) record.turnRandom = answer.turnRandom;
    if (answer.status === "error") {
      const code = answer.error?.code ?? "";
      const isUncertain = answer.turnRandom === null && passing.has(code);
      if (!isUncertain && !(passing.has(code) && request.key !== null) && code !== "interrupted") {
        record.told = answer.turnRandom === null ? "refused" : "failed";
      }
      return;
    }
    const { turnRandom } = answer;
    if (turnRandom === null) return;
    if (request.isBackground) return this.#background(request, record, turnRandom);
    if (answer.text !== null) {
      conversations.bodyOf(object, turnRandom, answer.text);
      record.told = "ok";
      return;
    }
    const reader = new Reader(this.#world, object, turnRandom);
    conversations.readers.push(reader);
    await this.#read(answer, object, reader);
    for (let tries = 0; tries < triesMax && reader.end === null; tries += 1) {
      await this.#world.kernel.sleep(200, this.process, "client.comesBack");
      await this.#resume(reader);
    }
    if (reader.end === "done") record.told = "ok";
  }

  /** Comes back with the last event id that it has. */
  async #resume(reader: Reader): Promise<void> {
    this.#world.recorder.sometimes("a client came back with an event id", reader.lastSeq > 0);
    const { object, turnRandom, lastSeq } = reader;
    const skip = this.#world.quirks.has("resumeSkipsFrame") && lastSeq > 0 ? 1 : 0;
    const answer = await this.#ask("resume", (worker) =>
      readStream(this.#world, worker, object, turnRandom, lastSeq + skip),
    );
    if (answer === null) return;
    if (answer.status === "error") {
      if (!passing.has(answer.error?.code ?? "")) reader.end ??= "error";
      return;
    }
    reader.connect(false);
    await this.#read(answer, object, reader);
  }

  #read(answer: Answer, _object: ObjectNode, reader: Reader): Promise<void> {
    const { body } = answer;
    if (body === null) return Promise.resolve();
    reader.hasJoined ||= !body.isRelayed;
    const { faults, kernel, recorder } = this.#world;
    const wasHealed = faults.isHealed;
    return new Promise((resolve) => {
      let isOver = false;
      let pipe: Pipe<Uint8Array> | null = null;
      const end = (): void => {
        if (isOver) return;
        isOver = true;
        timer.run = null;
        pipe?.close();
        resolve();
      };
      const timer = kernel.at(patienceMs, this.process, "client.gaveUp", end);
      pipe = body.open(this.process, {
        chunk: (bytes) => {
          if (isOver) return;
          reader.chunk(bytes);
          if (faults.fires("client.leaves")) end();
        },
        ended: () => {
          // Nothing breaks bodies any more: this is how the product ends one.
          recorder.expect(
            isOver || !wasHealed || reader.end !== null || reader.mayMissEnd(),
            "I-42",
            () => `${reader.object.name} ${reader.turnRandom}: a stream without an end`,
          );
          end();
        },
        cut: end,
      });
      if (isOver) pipe.close();
    });
  }

  /** Asks after a background turn until it has ended; sometimes cancels it. */
  async #background(
    request: ChatRequest,
    record: RequestRecord,
    turnRandom: string,
  ): Promise<void> {
    const { kernel, recorder } = this.#world;
    recorder.sometimes("a turn ran in the background");
    if (kernel.random("client").chance(0.3)) {
      await kernel.sleep(kernel.random("client").unit() * 800, this.process, "client.cancels");
      await this.#ask("cancel", async (worker) => {
        await this.#world.cancel(worker, request.object, turnRandom);
        return { status: "ok", error: null, turnRandom, text: null, body: null };
      });
    }
    for (let tries = 0; tries < triesMax; tries += 1) {
      const reader = new Reader(this.#world, request.object, turnRandom);
      const answer = await this.#ask("get", (worker) =>
        readStream(this.#world, worker, request.object, turnRandom, 0),
      );
      if (answer?.status === "error" && !passing.has(answer.error?.code ?? "")) {
        record.told = answer.error?.code === "not_found" ? "unknown" : "failed";
        return;
      }
      if (answer?.text != null) {
        record.told = "ok";
        return this.#world.conversations.bodyOf(request.object, turnRandom, answer.text);
      }
      if (answer?.body != null) {
        this.#world.conversations.readers.push(reader);
        await this.#read(answer, request.object, reader);
        if (reader.end === "done") record.told = "ok";
        if (reader.end !== null) return;
      }
      await kernel.sleep(1_000, this.process, "client.polls");
    }
  }
}
