import type { StoredTurn } from "#shared/conversation/store.ts";
import { answerTokens } from "../world/text.ts";
import type { ObjectNode } from "../world/object-node.ts";
import type { SimStore } from "../world/sim-store.ts";
import type { World } from "../world/world.ts";
import type { Reader } from "./reader.ts";

/** One request of a client and what it was told. */
export interface RequestRecord {
  readonly object: ObjectNode;
  readonly text: string;
  readonly key: string | null;
  readonly body: string;
  /** `ok`: the answer came whole. `refused`: an error before anything was accepted. `failed`: the turn ended with an error. */
  told: "ok" | "refused" | "failed" | "unknown";
  turnRandom: string | null;
  /** The client waits for nothing any more. */
  isOver: boolean;
}

/** What clients did and were told, and what objects committed. */
export class Conversations {
  readonly #world: World;
  readonly requests: RequestRecord[] = [];
  readonly readers: Reader[] = [];
  readonly bodies = new Map<string, string>();

  constructor(world: World) {
    this.#world = world;
  }

  /** Looks at each transaction as it becomes durable. */
  committed(node: ObjectNode, before: SimStore, after: SimStore): void {
    const { recorder } = this.#world;
    const { head } = after;
    if (head === null) return;
    const where = node.name;
    recorder.expect(
      head.jurisdiction === node.zone,
      "I-03",
      () => `${where} is of ${head.jurisdiction}`,
    );
    if (head.erasure !== "none") return;
    if (before.head !== null) {
      const { nextSeq, incarnation } = before.head;
      recorder.expect(head.nextSeq >= nextSeq, "I-13", () => `${where}: nextSeq went back`);
      recorder.expect(
        head.incarnation >= incarnation,
        "I-15",
        () => `${where}: the incarnation went back`,
      );
    }
    recorder.expect(
      after.items.size === head.nextSeq - 1,
      "I-13",
      () => `${where}: ${after.items.size} items, next is ${head.nextSeq}`,
    );
    const was = before.head?.runningTurnRandom ?? null;
    if (was !== null && was !== head.runningTurnRandom) {
      const ended = after.turns.get(was);
      recorder.expect(
        ended?.state !== "running",
        "I-14",
        () => `${where}: ${was} still runs beside another`,
      );
    }
    const changed = [...after.turns.values()].filter(
      (turn) => before.turns.get(turn.turnRandom) !== turn,
    );
    for (const turn of changed)
      this.#turnChanged(node, before.turns.get(turn.turnRandom), turn, after);
  }

  #turnChanged(
    node: ObjectNode,
    before: StoredTurn | undefined,
    turn: StoredTurn,
    after: SimStore,
  ): void {
    const { recorder } = this.#world;
    const where = `${node.name} ${turn.turnRandom}`;
    let seq = 0;
    for (const row of after.journals.get(turn.turnRandom) ?? []) {
      recorder.expect(
        row.fromSeq === seq + 1,
        "I-41",
        () => `${where}: the journal goes from ${seq} to ${row.fromSeq}`,
      );
      seq = row.toSeq;
    }
    if (turn.isStored && turn.template.rendering.stream) {
      recorder.expect(
        seq === turn.journalToSeq,
        "I-41",
        () => `${where}: the journal ends at ${seq}, not ${turn.journalToSeq}`,
      );
    }
    if (before === undefined) return;
    recorder.expect(
      turn.attempt >= before.attempt,
      "I-15",
      () => `${where}: the attempt went back`,
    );
    const isReopened = before.state !== "running" && before.state !== turn.state;
    recorder.expect(
      !isReopened,
      "I-14",
      () => `${where}: ended as ${before.state}, then ${turn.state}`,
    );
    recorder.sometimes("a turn was taken over by its object", turn.takenOverAtSeq !== null);
    recorder.sometimes("a turn was restarted from its journal", turn.restartedAfterSeq !== null);
    recorder.sometimes("a turn was cancelled", turn.state === "cancelled");
  }

  /** The answer is what every healthy shard says to this prompt; unless a shard of the turn had another sample. */
  expectAnswer(node: ObjectNode, turnId: string, text: string, where: () => string): void {
    const key = this.#world.generations.promptOf(turnId);
    if (key === null) return;
    const expected = answerTokens(node.zone, key >>> 0).join("");
    this.#world.recorder.expect(
      text === expected,
      "I-41",
      () => `the answer is ${JSON.stringify(text)}, not ${JSON.stringify(expected)}; ${where()}`,
    );
  }

  /** I-08: the stored answer, byte for byte, each time that it is asked for. */
  bodyOf(node: ObjectNode, turnRandom: string, text: string): void {
    const { recorder } = this.#world;
    const key = `${node.name} ${turnRandom}`;
    const known = this.bodies.get(key);
    if (known === undefined) this.bodies.set(key, text);
    else recorder.expect(known === text, "I-08", () => `${key}: two answers`);
    const turn = node.durable.turns.get(turnRandom);
    if (node.durable.head?.erasure !== "none" || turn === undefined) return;
    recorder.expect(
      turn.body === text,
      "I-42",
      () => `${key}: an answer that is not the stored one (${turn.state})`,
    );
  }
}
