import type { World } from "../world/world.ts";
import type { ObjectNode } from "../world/object-node.ts";

/** How a reader's stream ended: with the whole answer, with an explicit error, or not (yet). */
export type ReaderEnd = "done" | "error" | null;

function field(block: string, name: string): string | null {
  for (const line of block.split("\n")) {
    if (line.startsWith(`${name}: `)) return line.slice(name.length + 2);
  }
  return null;
}

const doneEvents = new Set(["response.completed", "response.incomplete"]);

/** One logical reader of one turn over all its connections: what it was given, in the order in which it was given. */
export class Reader {
  readonly #world: World;
  readonly object: ObjectNode;
  readonly turnRandom: string;
  readonly frames = new Map<number, string>();
  #decoder = new TextDecoder("utf-8", { fatal: true });
  #pending = "";
  /** Of a turn that no object knows; `turnRandom` is the turn's whole id. */
  isStateless = false;
  /** Reads a turn that another Worker relays. */
  hasJoined = false;
  /** A connection broke on which it had joined: before the journal had confirmed what it was shown, perhaps. */
  hasLostTrack = false;
  lastSeq = 0;
  end: ReaderEnd = null;
  text = "";
  finishReasons = 0;

  constructor(world: World, object: ObjectNode, turnRandom: string) {
    this.#world = world;
    this.object = object;
    this.turnRandom = turnRandom;
  }

  /** Before each connection: what was not whole is thrown away. */
  connect(fromStart: boolean): void {
    this.#pending = "";
    this.#decoder = new TextDecoder("utf-8", { fatal: true });
    this.hasLostTrack ||= this.hasJoined;
    if (!fromStart) return;
    this.lastSeq = 0;
    this.text = "";
    this.finishReasons = 0;
  }

  /**
   * Two failures at once: it had joined live and lost its connection before the journal had confirmed what it was shown, and
   * the turn went on without that because its cell was lost as well. Its event id does not tell (README.md, known gaps).
   */
  mayBeAhead(): boolean {
    const turn = this.object.durable.turns.get(this.turnRandom);
    return (
      this.hasLostTrack && turn !== undefined && turn.attempt > 1 && turn.restartedAfterSeq === null
    );
  }

  /** The same, where the turn ended well at or below what it has: nothing is left to be told, and its end is another's. */
  mayMissEnd(): boolean {
    const state = this.object.durable.turns.get(this.turnRandom)?.state;
    return this.mayBeAhead() && state !== "failed" && state !== "cancelled";
  }

  chunk(bytes: Uint8Array): void {
    const { recorder } = this.#world;
    try {
      this.#pending += this.#decoder.decode(bytes, { stream: true });
    } catch {
      recorder.violate("I-44", `${this.turnRandom}: bytes that are no UTF-8`);
      return;
    }
    for (let end = this.#pending.indexOf("\n\n"); end >= 0; end = this.#pending.indexOf("\n\n")) {
      const block = this.#pending.slice(0, end);
      this.#pending = this.#pending.slice(end + 2);
      if (!block.startsWith(":")) this.#frame(block);
    }
  }

  #frame(block: string): void {
    const { recorder } = this.#world;
    const where = (): string => `${this.object.name} ${this.turnRandom}: ${block.slice(0, 80)}`;
    recorder.expect(this.end === null, "I-42", () => `an event after the end, ${where()}`);
    const id = field(block, "id");
    if (id !== null) {
      const seq = Number(id);
      recorder.expect(
        seq === this.lastSeq + 1,
        "I-41",
        () => `after ${this.lastSeq} came ${seq}, ${where()}`,
      );
      this.lastSeq = seq;
      const known = this.frames.get(seq);
      recorder.expect(
        known === undefined || known === block,
        "I-45",
        () => `given twice, differing: ${where()}`,
      );
      this.frames.set(seq, block);
    }
    const data = field(block, "data");
    recorder.expect(data !== null, "I-44", () => `an event without data, ${where()}`);
    this.#read(field(block, "event"), data ?? "", where);
  }

  #read(event: string | null, data: string, where: () => string): void {
    const { recorder } = this.#world;
    if (data === "[DONE]") {
      recorder.expect(
        this.finishReasons === 1,
        "I-42",
        () => `[DONE] after ${this.finishReasons} finish reasons, ${where()}`,
      );
      return this.#done(where);
    }
    let value: Record<string, unknown>;
    try {
      value = JSON.parse(data) as Record<string, unknown>;
    } catch {
      recorder.violate("I-44", `data that is no JSON, ${where()}`);
      return;
    }
    if (event !== null && doneEvents.has(event)) return this.#done(where);
    if (event === "error" || event === "response.failed" || "error" in value) {
      this.end = "error";
      return;
    }
    if (event === "response.output_text.delta") this.text += String(value["delta"]);
    const [choice] = (value["choices"] ?? []) as {
      delta?: { content?: string };
      finish_reason?: string | null;
    }[];
    this.text += choice?.delta?.content ?? "";
    if (choice?.finish_reason !== undefined && choice.finish_reason !== null)
      this.finishReasons += 1;
  }

  /** I-42: the end is shown only once the turn is durable. */
  #done(where: () => string): void {
    this.end = "done";
    const { recorder, conversations } = this.#world;
    if (this.isStateless) {
      conversations.expectAnswer(this.object, this.turnRandom, this.text, where);
      return;
    }
    const { head } = this.object.durable;
    if (head?.erasure !== "none") return;
    const turn = this.object.durable.turns.get(this.turnRandom);
    const isDurable = turn?.state === "completed" || turn?.state === "incomplete";
    recorder.expect(
      isDurable,
      "I-42",
      () => `the end was shown of a turn that is ${turn?.state}, ${where()}`,
    );
    conversations.expectAnswer(this.object, turn?.turnId ?? "", this.text, where);
  }
}
