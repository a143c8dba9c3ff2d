import { aDeletion, aUsage, anAppend, anErasure, anItem, jurisdiction, soon } from "./harness.ts";
import type { HistoryCase } from "./harness.ts";

/** Deletion, erasure and usage. */
export const eraseCases: readonly HistoryCase[] = [
  {
    name: "erases a conversation and refuses what comes late, whatever its fence",
    async run({ execute, seqs, key, expect }) {
      await execute(anAppend(key, [1, 3]));
      expect(await execute(anErasure(key))).toEqual({ kind: "applied" });
      expect(await seqs()).toEqual([]);
      expect(await execute(anAppend(key, [4, 4]))).toEqual({ kind: "erased" });
      expect(await execute(anAppend(key, [1, 3], { fence: 9 }))).toEqual({ kind: "erased" });
      expect(await execute(aDeletion(key, 1))).toEqual({ kind: "erased" });
      expect(await seqs()).toEqual([]);
    },
  },
  {
    name: "answers duplicate to a second erasure",
    async run({ execute, key, expect }) {
      await execute(anAppend(key, [1, 1], { fence: 3 }));
      expect(await execute(anErasure(key, 3))).toEqual({ kind: "applied" });
      expect(await execute(anErasure(key, 3))).toEqual({ kind: "duplicate" });
      expect(await execute(anErasure(key, 2))).toEqual({ kind: "duplicate" });
      expect(await execute(anErasure(key, 4))).toEqual({ kind: "duplicate" });
    },
  },
  {
    name: "records the erasure of a conversation that it never heard of",
    async run({ execute, seqs, key, expect }) {
      expect(await execute(anErasure(key))).toEqual({ kind: "applied" });
      expect(await execute(anAppend(key, [1, 1]))).toEqual({ kind: "erased" });
      expect(await seqs()).toEqual([]);
    },
  },
  {
    name: "refuses the erasure of a zombie",
    async run({ execute, seqs, key, expect }) {
      await execute(anAppend(key, [1, 1], { fence: 2 }));
      expect(await execute(anErasure(key, 1))).toEqual({ kind: "fenced", fence: 2 });
      expect(await seqs()).toEqual([1]);
    },
  },
  {
    name: "leaves nothing behind when an erasure races with appends",
    async run({ execute, seqs, key, expect }) {
      const replies = await Promise.all([
        execute(anAppend(key, [1, 2])),
        execute(anErasure(key)),
        execute(anAppend(key, [1, 2])),
      ]);
      expect(replies[1]).toEqual({ kind: "applied" });
      expect(await seqs()).toEqual([]);
    },
  },
  {
    name: "empties one item, keeps its seq and the order of the others",
    async run({ execute, store, key, expect }) {
      await execute(anAppend(key, [1, 3]));
      expect(await execute(aDeletion(key, 2))).toEqual({ kind: "applied" });
      expect(await execute(aDeletion(key, 2))).toEqual({ kind: "duplicate" });
      expect(await execute(anAppend(key, [4, 4]))).toEqual({ kind: "applied" });
      const items = await store.read(key.tenant, key.conversationId, 0, 10, soon());
      expect(items).toEqual([anItem(1), anItem(3), anItem(4)]);
    },
  },
  {
    name: "knows a redelivered batch of which an item was emptied meanwhile",
    async run({ execute, seqs, key, expect }) {
      await execute(anAppend(key, [1, 2]));
      await execute(aDeletion(key, 1));
      const emptied = anAppend(key, [1, 2], { items: [anItem(1, { json: "" }), anItem(2)] });
      expect(await execute(emptied)).toEqual({ kind: "duplicate" });
      expect(await seqs()).toEqual([2]);
    },
  },
  {
    name: "refuses the deletion of an item that is not there yet, or by a zombie",
    async run({ execute, seqs, key, expect }) {
      expect(await execute(aDeletion(key, 1))).toEqual({ kind: "gap", nextSeq: 1 });
      await execute(anAppend(key, [1, 1], { fence: 2 }));
      expect(await execute(aDeletion(key, 2, 2))).toEqual({ kind: "gap", nextSeq: 2 });
      expect(await execute(aDeletion(key, 1, 1))).toEqual({ kind: "fenced", fence: 2 });
      expect(await seqs()).toEqual([1]);
      expect(await execute(aDeletion(key, 1, 3))).toEqual({ kind: "applied" });
      expect(await execute(anAppend(key, [2, 2], { fence: 2 }))).toEqual({
        kind: "fenced",
        fence: 3,
      });
    },
  },
  {
    name: "records the usage of a turn once, whichever way it comes",
    async run({ execute, store, noteUsage, key, expect }) {
      const turnId = `${key.conversationId}_turn`;
      const batch = anAppend(key, [1, 1], { usage: [aUsage(turnId)] });
      await execute(batch);
      await execute(batch);
      const again = { ...aUsage(turnId, { promptTokens: 99 }), tenant: key.tenant, jurisdiction };
      expect(await store.recordUsage([again], soon())).toBe("recorded");
      noteUsage(turnId, [10]);
    },
  },
  {
    name: "records the usage of many turns at once, with every field as it was given",
    async run({ store, noteRow, key, expect }) {
      const rows = Array.from({ length: 300 }, (_, index) => ({
        ...aUsage(`${key.conversationId}_turn_${index}`, {
          shard: index % 2 === 0 ? null : "eu-west-1a/quote'\"\\-0",
          promptTokens: 2 ** 40 + index,
        }),
        tenant: key.tenant,
        jurisdiction,
      }));
      expect(await store.recordUsage(rows, soon())).toBe("recorded");
      expect(await store.recordUsage(rows.slice(0, 2), soon())).toBe("recorded");
      for (const row of rows) noteRow(row);
    },
  },
  {
    name: "records usage that comes without items, and with a batch that is there already",
    async run({ execute, noteUsage, key, expect }) {
      const first = `${key.conversationId}_turn_1`;
      const second = `${key.conversationId}_turn_2`;
      const third = `${key.conversationId}_turn_3`;
      const only = (turnId: string) => ({ items: [], usage: [aUsage(turnId, { shard: null })] });
      expect(await execute(anAppend(key, [1, 1], only(first)))).toEqual({ kind: "applied" });
      await execute(anAppend(key, [1, 1]));
      const repeated = anAppend(key, [1, 1], { usage: [aUsage(second)] });
      expect(await execute(repeated)).toEqual({ kind: "duplicate" });
      expect(await execute(anAppend(key, [5, 5], only(third)))).toEqual({
        kind: "gap",
        nextSeq: 2,
      });
      noteUsage(first, [10]);
      noteUsage(second, [10]);
      noteUsage(third, []);
    },
  },
  {
    name: "keeps usage over an erasure and takes usage that comes after it, without the items",
    async run({ execute, noteUsage, seqs, key, expect }) {
      const [before, after] = [`${key.conversationId}_a`, `${key.conversationId}_b`];
      await execute(anAppend(key, [1, 1], { usage: [aUsage(before)] }));
      await execute(anErasure(key));
      const late = anAppend(key, [2, 2], { usage: [aUsage(after)] });
      expect(await execute(late)).toEqual({ kind: "erased" });
      noteUsage(before, [10]);
      noteUsage(after, [10]);
      expect(await seqs()).toEqual([]);
    },
  },
  {
    name: "answers a ping",
    async run({ store, expect }) {
      expect(await store.ping(soon())).toBe(true);
    },
  },
  {
    name: "answers unavailable when the deadline has passed",
    async run({ store, key, seqs, expect }) {
      const late = Date.now() - 1;
      expect(await store.execute(anAppend(key, [1, 1]), late)).toEqual({ kind: "unavailable" });
      expect(await store.read(key.tenant, key.conversationId, 0, 1, late)).toBe("unavailable");
      expect(await store.ping(late)).toBe(false);
      const usage = { ...aUsage("turn_late"), tenant: key.tenant, jurisdiction };
      expect(await store.recordUsage([usage], late)).toBe("unavailable");
      expect(await seqs()).toEqual([]);
    },
  },
];
