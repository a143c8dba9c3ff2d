import { historyLink } from "#shared/protocol/internal/history.ts";
import type {
  HistoryAppend,
  HistoryCommand,
  HistoryItem,
  HistoryReply,
  HistoryUsage,
} from "#shared/protocol/internal/history.ts";
import { hash32 } from "../random.ts";
import type { World } from "./world.ts";

/** A conversation as a region's database holds it. */
export interface DatabaseHead {
  readonly nextSeq: number;
  readonly fence: number;
  readonly isErased: boolean;
  readonly items: readonly (HistoryItem & { readonly isDeleted: boolean })[];
}

interface Tables {
  readonly conversations: Map<string, DatabaseHead>;
  readonly usage: Map<string, HistoryUsage & { readonly tenant: string }>;
}

/** Stands for SHA-256 of a text: the chain is compared only with itself. */
export function digest(text: string): string {
  return [1, 2, 3, 4].map((salt) => hash32(text, salt).toString(16).padStart(8, "0")).join("");
}

function keyOf(command: HistoryCommand): string {
  return `${command.tenant}|${command.conversationId}`;
}

/**
 * What regional/history does in SQL, as one step per command: the head moves only from `fromSeq` and only for a fence that is
 * not lower. It mirrors append.ts, erase.ts and move.ts there; the contract suite holds those to the same rules.
 */
export function executeHistory(tables: Tables, command: HistoryCommand): HistoryReply {
  const key = keyOf(command);
  const head = tables.conversations.get(key);
  switch (command.kind) {
    case "append":
      return append(tables, key, head, command);
    case "deleteItem": {
      if (head === undefined) return { kind: "gap", nextSeq: 1 };
      if (head.isErased) return { kind: "erased" };
      if (command.fence < head.fence) return { kind: "fenced", fence: head.fence };
      tables.conversations.set(key, { ...head, fence: command.fence });
      if (command.seq >= head.nextSeq) return { kind: "gap", nextSeq: head.nextSeq };
      const items = head.items.map((item) =>
        item.seq === command.seq ? { ...item, json: "", isDeleted: true } : item,
      );
      tables.conversations.set(key, { ...head, fence: command.fence, items });
      return { kind: "applied" };
    }
    case "erase":
      if (head?.isErased === true) return { kind: "duplicate" };
      if (head !== undefined && command.fence < head.fence)
        return { kind: "fenced", fence: head.fence };
      tables.conversations.set(key, {
        nextSeq: head?.nextSeq ?? 1,
        fence: command.fence,
        isErased: true,
        items: [],
      });
      return { kind: "applied" };
    case "release": {
      addUsage(tables, command.tenant, command.usage);
      if (head?.isErased === true) return { kind: "erased" };
      if (head !== undefined && command.fence < head.fence)
        return { kind: "fenced", fence: head.fence };
      const released = { nextSeq: 1, fence: command.fence, isErased: false, items: [] };
      tables.conversations.set(key, released);
      return { kind: "applied" };
    }
    case "seal": {
      if (head?.isErased === true) return { kind: "erased" };
      if (head !== undefined && command.fence < head.fence)
        return { kind: "fenced", fence: head.fence };
      const sealed = head ?? { nextSeq: 1, fence: 0, isErased: false, items: [] };
      tables.conversations.set(key, { ...sealed, fence: command.fence });
      let chain = "";
      for (const item of sealed.items) chain = digest(historyLink(chain, item));
      return { kind: "sealed", nextSeq: sealed.nextSeq, chain };
    }
  }
}

function addUsage(tables: Tables, tenant: string, rows: readonly HistoryUsage[]): void {
  for (const row of rows) {
    if (!tables.usage.has(row.turnId)) tables.usage.set(row.turnId, { ...row, tenant });
  }
}

function append(
  tables: Tables,
  key: string,
  found: DatabaseHead | undefined,
  command: HistoryAppend,
): HistoryReply {
  const { fence, fromSeq, items, tenant, usage } = command;
  const isFirst = found === undefined && fromSeq === 1;
  const head = isFirst ? { nextSeq: 1, fence, isErased: false, items: [] } : found;
  if (head === undefined) return { kind: "gap", nextSeq: 1 };
  if (head.isErased) {
    addUsage(tables, tenant, usage);
    return { kind: "erased" };
  }
  if (fence >= head.fence && head.nextSeq === fromSeq) {
    addUsage(tables, tenant, usage);
    const added = items.map((item) => ({ ...item, isDeleted: item.json === "" }));
    const nextSeq = fromSeq + items.length;
    tables.conversations.set(key, { ...head, fence, nextSeq, items: [...head.items, ...added] });
    return { kind: "applied" };
  }
  const isZombie = fence < head.fence;
  const ids = new Map(head.items.map(({ id, seq }) => [seq, id]));
  const agrees = items.every(({ id, seq }) => seq >= head.nextSeq || ids.get(seq) === id);
  if (!agrees) return { kind: "fenced", fence: head.fence };
  const isContained = items.length > 0 && fromSeq + items.length <= head.nextSeq;
  if (isZombie) return isContained ? { kind: "duplicate" } : { kind: "fenced", fence: head.fence };
  tables.conversations.set(key, { ...head, fence });
  if (!isContained) return { kind: "gap", nextSeq: head.nextSeq };
  addUsage(tables, tenant, usage);
  return { kind: "duplicate" };
}

/** A region's PostgreSQL: commits whole, but an acknowledgement may be lost, it may be away, or come back older. */
export class Database {
  readonly region: string;
  readonly zone: string;
  readonly #world: World;
  tables: Tables = { conversations: new Map(), usage: new Map() };
  #backup: Tables = { conversations: new Map(), usage: new Map() };
  downUntilMs = 0;
  restores = 0;

  constructor(world: World, region: string, zone: string) {
    this.#world = world;
    this.region = region;
    this.zone = zone;
  }

  get isUp(): boolean {
    return this.#world.faults.isHealed || this.#world.kernel.nowMs >= this.downUntilMs;
  }

  async execute(command: HistoryCommand): Promise<HistoryReply> {
    const { faults, kernel, machines, recorder } = this.#world;
    await kernel.sleep(faults.fires("db.slow") ? 3_000 : 1 + kernel.random("db").unit() * 4, null);
    if (!this.isUp || faults.fires("db.fails")) return { kind: "unavailable" };
    const before = this.tables.conversations.get(keyOf(command));
    const reply = machines.executeHistory(this.tables, command);
    const after = this.tables.conversations.get(keyOf(command));
    this.#check(command, before, after);
    if (reply.kind === "fenced") recorder.sometimes("database refused a lower fence");
    if (reply.kind === "gap") recorder.sometimes("database had a gap");
    if (faults.fires("db.ackLost")) return { kind: "unavailable" };
    return reply;
  }

  /** What every sink promises, looked at from outside of it. */
  #check(
    command: HistoryCommand,
    before: DatabaseHead | undefined,
    after: DatabaseHead | undefined,
  ): void {
    const { recorder } = this.#world;
    const where = `${this.region} ${command.conversationId} ${command.kind}`;
    const isChanged = before?.items !== after?.items || before?.nextSeq !== after?.nextSeq;
    recorder.expect(
      before === undefined || !isChanged || command.fence >= before.fence,
      "I-15",
      () => `${where}: written with fence ${command.fence} below ${before?.fence}`,
    );
    recorder.expect(
      before?.isErased !== true || (after?.isErased === true && after.items.length === 0),
      "I-49",
      () => `${where}: an erased conversation was written`,
    );
    if (after === undefined) return;
    const isGapless = after.items.every((item, index) => item.seq === index + 1);
    recorder.expect(isGapless, "I-13", () => `${where}: rows have gaps`);
    const ids = new Set(after.items.map(({ id }) => id));
    recorder.expect(ids.size === after.items.length, "I-07", () => `${where}: an item is twice`);
  }

  backUp(): void {
    const { conversations, usage } = this.tables;
    this.#backup = { conversations: new Map(conversations), usage: new Map(usage) };
  }

  /** Comes back as the last backup was. */
  restore(): void {
    const { conversations, usage } = this.#backup;
    this.tables = { conversations: new Map(conversations), usage: new Map(usage) };
    this.restores += 1;
  }
}
