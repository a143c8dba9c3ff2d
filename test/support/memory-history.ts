import type {
  HistoryCommand,
  HistoryItem,
  HistoryReply,
  HistoryUsage,
} from "#shared/protocol/internal/history.ts";

/** An item as a database keeps it. */
export type Kept = HistoryItem & { readonly isDeleted: boolean };

/** One conversation in the database of one region, as regional/history keeps it; `chainOf` is the runtime's own hash. */
export class MemoryHistory {
  items: Kept[] = [];
  fence = 0;
  isErased = false;
  isDown = false;
  readonly usage = new Map<string, HistoryUsage>();
  readonly #chainOf: (items: readonly Kept[]) => string;

  constructor(chainOf: (items: readonly Kept[]) => string) {
    this.#chainOf = chainOf;
  }

  get nextSeq(): number {
    return this.items.length + 1;
  }

  execute(command: HistoryCommand): HistoryReply {
    if (this.isDown) return { kind: "unavailable" };
    if (command.kind === "release") this.#use(command.usage);
    if (this.isErased) {
      if (command.kind === "append") this.#use(command.usage);
      return { kind: "erased" };
    }
    if (command.fence < this.fence) return this.#refuseZombie(command);
    switch (command.kind) {
      case "append":
        return this.#append(command);
      case "deleteItem":
        this.fence = command.fence;
        if (command.seq >= this.nextSeq) return { kind: "gap", nextSeq: this.nextSeq };
        this.items = this.items.map((item) =>
          item.seq === command.seq ? { ...item, json: "", isDeleted: true } : item,
        );
        return { kind: "applied" };
      case "erase":
        this.isErased = true;
        this.items = [];
        return { kind: "applied" };
      case "release":
        this.fence = command.fence;
        this.items = [];
        return { kind: "applied" };
      case "seal":
        this.fence = command.fence;
        return { kind: "sealed", nextSeq: this.nextSeq, chain: this.#chainOf(this.items) };
    }
  }

  #use(usage: readonly HistoryUsage[]): void {
    for (const row of usage) if (!this.usage.has(row.turnId)) this.usage.set(row.turnId, row);
  }

  #refuseZombie(command: HistoryCommand): HistoryReply {
    const isContained =
      command.kind === "append" &&
      command.items.length > 0 &&
      command.items.every(({ id, seq }) => this.items[seq - 1]?.id === id);
    return isContained ? { kind: "duplicate" } : { kind: "fenced", fence: this.fence };
  }

  #append(command: HistoryCommand & { kind: "append" }): HistoryReply {
    const { fence, fromSeq, items, usage } = command;
    if (fromSeq === this.nextSeq) {
      this.fence = fence;
      this.items.push(...items.map((item) => ({ ...item, isDeleted: item.json === "" })));
      this.#use(usage);
      return { kind: "applied" };
    }
    const repeated = items.filter(({ seq }) => seq < this.nextSeq);
    if (repeated.some(({ id, seq }) => this.items[seq - 1]?.id !== id)) {
      return { kind: "fenced", fence: this.fence };
    }
    this.fence = fence;
    if (items.length === 0 || repeated.length < items.length) {
      return { kind: "gap", nextSeq: this.nextSeq };
    }
    this.#use(usage);
    return { kind: "duplicate" };
  }
}
