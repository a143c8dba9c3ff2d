import { fileURLToPath } from "node:url";
import type { ExpectStatic } from "vitest";
import { openHistory } from "#regional/history/index.ts";
import type { HistoryLog } from "#regional/history/index.ts";
import type {
  HistoryAppend,
  HistoryDeleteItem,
  HistoryErase,
  HistoryItem,
  HistoryReply,
  HistoryStore,
  HistoryUsage,
  OwnedUsage,
} from "#shared/protocol/internal/history.ts";
import type { ConversationId, Jurisdiction, TenantId } from "#shared/residency/brands.ts";

export const migrationsDir = fileURLToPath(new URL("../../../migrations", import.meta.url));
export const jurisdiction = "eu" as Jurisdiction;

/** Far enough that only a hang reaches it. */
const patienceMs = 20_000;

/** The deadline of a call that is expected to be answered. */
export function soon(): number {
  return Date.now() + patienceMs;
}

/** A store on `database` that keeps what it logs. */
export async function openStore(
  database: string,
  dataDir: string,
): Promise<{ readonly store: HistoryStore; readonly logs: HistoryLog[] }> {
  const logs: HistoryLog[] = [];
  const store = await openHistory({
    database,
    dataDir,
    migrationsDir,
    onLog: (log) => logs.push(log),
  });
  return { store, logs };
}

let conversations = 0;

/** A conversation of its own, so that the cases of one database do not meet. */
export function aConversation(): {
  readonly tenant: TenantId;
  readonly conversationId: ConversationId;
} {
  conversations += 1;
  return {
    tenant: "acme" as TenantId,
    conversationId: `conv_eu_t_${process.pid}_${conversations}` as ConversationId,
  };
}

type Key = ReturnType<typeof aConversation>;

export function anItem(seq: number, more: Partial<HistoryItem> = {}): HistoryItem {
  return {
    id: `msg_${seq}`,
    type: "message",
    json: `{"n":${seq}}`,
    seq,
    turnId: null,
    createdAtMs: 1_700_000_000_000 + seq,
    ...more,
  };
}

export function aUsage(turnId: string, more: Partial<HistoryUsage> = {}): HistoryUsage {
  return {
    turnId,
    requestId: "req_1",
    model: "sim/llama",
    shard: "eu-west-1a/llama-0",
    status: "completed",
    promptTokens: 10,
    completionTokens: 5,
    cachedTokens: 2,
    reasoningTokens: 0,
    createdAtMs: 1_700_000_000_000,
    ...more,
  };
}

/** Items `from` to `to`, as an object of incarnation `fence` delivers them. */
export function anAppend(
  key: Key,
  [from, to]: readonly [number, number],
  more: Partial<HistoryAppend> = {},
): HistoryAppend {
  const items = Array.from({ length: to - from + 1 }, (_, index) => anItem(from + index));
  const base = { v: 1, kind: "append", jurisdiction, fence: 1, fromSeq: from, usage: [] } as const;
  return { ...base, ...key, items, ...more };
}

export function aDeletion(key: Key, seq: number, fence = 1): HistoryDeleteItem {
  return { v: 1, kind: "deleteItem", jurisdiction, ...key, fence, seq };
}

export function anErasure(key: Key, fence = 1): HistoryErase {
  return { v: 1, kind: "erase", jurisdiction, ...key, fence };
}

/** What a case works with. */
export interface CaseContext {
  readonly store: HistoryStore;
  readonly logs: HistoryLog[];
  readonly key: Key;
  readonly expect: ExpectStatic;
  /** Executes with a patient deadline. */
  readonly execute: (command: Parameters<HistoryStore["execute"]>[0]) => Promise<HistoryReply>;
  /** The seqs that a reader sees. */
  readonly seqs: () => Promise<readonly number[]>;
  /** Notes the prompt tokens of the rows that `usage` must hold for a turn; a last test reads them behind the store. */
  readonly noteUsage: (turnId: string, promptTokens: readonly number[]) => void;
  /** Notes a row that `usage` must hold in every column. */
  readonly noteRow: (row: OwnedUsage) => void;
}

/** One line of the table that every database must satisfy. */
export interface HistoryCase {
  readonly name: string;
  run(context: CaseContext): Promise<void>;
}

export async function readSeqs(store: HistoryStore, key: Key): Promise<readonly number[]> {
  const items = await store.read(key.tenant, key.conversationId, 0, 1000, soon());
  if (items === "unavailable") throw new Error("the database is unavailable");
  return items.map((item) => item.seq);
}

/** Polls until `check` holds. @throws Error when it does not within the patience of a test. */
export async function eventually(check: () => Promise<boolean>): Promise<void> {
  const endMs = Date.now() + patienceMs;
  while (!(await check())) {
    if (Date.now() > endMs) throw new Error("it never held");
    await new Promise((resolve) => {
      setTimeout(resolve, 20);
    });
  }
}
