import { aConversation, aUsage, anAppend, anItem, readSeqs, soon } from "./harness.ts";
import type { HistoryCase } from "./harness.ts";
import type { TenantId } from "#shared/residency/brands.ts";

/** Order, exactly once, and fences of `append`. */
export const appendCases: readonly HistoryCase[] = [
  {
    name: "keeps items in gapless order over several deliveries",
    async run({ execute, seqs, key, expect }) {
      expect(await execute(anAppend(key, [1, 2]))).toEqual({ kind: "applied" });
      expect(await execute(anAppend(key, [3, 3]))).toEqual({ kind: "applied" });
      expect(await execute(anAppend(key, [4, 6]))).toEqual({ kind: "applied" });
      expect(await seqs()).toEqual([1, 2, 3, 4, 5, 6]);
    },
  },
  {
    name: "answers duplicate to a batch that was delivered before",
    async run({ execute, seqs, key, expect }) {
      const batch = anAppend(key, [1, 3]);
      expect(await execute(batch)).toEqual({ kind: "applied" });
      expect(await execute(batch)).toEqual({ kind: "duplicate" });
      expect(await execute(anAppend(key, [2, 2]))).toEqual({ kind: "duplicate" });
      expect(await seqs()).toEqual([1, 2, 3]);
    },
  },
  {
    name: "answers gap to a batch of which only the first items are there, and takes the rest",
    async run({ execute, seqs, key, expect }) {
      await execute(anAppend(key, [1, 2]));
      expect(await execute(anAppend(key, [1, 4]))).toEqual({ kind: "gap", nextSeq: 3 });
      expect(await seqs()).toEqual([1, 2]);
      expect(await execute(anAppend(key, [3, 4]))).toEqual({ kind: "applied" });
      expect(await seqs()).toEqual([1, 2, 3, 4]);
    },
  },
  {
    name: "answers gap to a batch whose predecessors are missing",
    async run({ execute, seqs, key, expect }) {
      expect(await execute(anAppend(key, [3, 4]))).toEqual({ kind: "gap", nextSeq: 1 });
      await execute(anAppend(key, [1, 1]));
      expect(await execute(anAppend(key, [3, 4]))).toEqual({ kind: "gap", nextSeq: 2 });
      expect(await seqs()).toEqual([1]);
    },
  },
  {
    name: "takes the same and a higher fence, and refuses a lower one afterwards",
    async run({ execute, seqs, key, expect }) {
      await execute(anAppend(key, [1, 1], { fence: 5 }));
      expect(await execute(anAppend(key, [2, 2], { fence: 5 }))).toEqual({ kind: "applied" });
      expect(await execute(anAppend(key, [3, 3], { fence: 7 }))).toEqual({ kind: "applied" });
      expect(await execute(anAppend(key, [4, 4], { fence: 6 }))).toEqual({
        kind: "fenced",
        fence: 7,
      });
      expect(await execute(anAppend(key, [4, 4], { fence: 7 }))).toEqual({ kind: "applied" });
      expect(await seqs()).toEqual([1, 2, 3, 4]);
    },
  },
  {
    name: "refuses a zombie that sends another item for a seq that is taken",
    async run({ execute, logs, store, key, expect }) {
      await execute(anAppend(key, [1, 1], { fence: 2 }));
      const zombie = anAppend(key, [1, 1], { fence: 1, items: [anItem(1, { id: "msg_other" })] });
      expect(await execute(zombie)).toEqual({ kind: "fenced", fence: 2 });
      const items = await store.read(key.tenant, key.conversationId, 0, 10, soon());
      expect(items).toEqual([anItem(1)]);
      expect(logs.filter((log) => log.event === "history_conflict")).toEqual([]);
    },
  },
  {
    name: "tells a zombie that its own items are there",
    async run({ execute, key, expect }) {
      await execute(anAppend(key, [1, 2], { fence: 1 }));
      await execute(anAppend(key, [3, 3], { fence: 2 }));
      expect(await execute(anAppend(key, [1, 2], { fence: 1 }))).toEqual({ kind: "duplicate" });
      expect(await execute(anAppend(key, [3, 4], { fence: 1 }))).toEqual({
        kind: "fenced",
        fence: 2,
      });
    },
  },
  {
    name: "raises the fence by a duplicate and by a gap as well",
    async run({ execute, key, expect }) {
      await execute(anAppend(key, [1, 1], { fence: 1 }));
      await execute(anAppend(key, [1, 1], { fence: 3 }));
      expect(await execute(anAppend(key, [2, 2], { fence: 2 }))).toEqual({
        kind: "fenced",
        fence: 3,
      });
      await execute(anAppend(key, [9, 9], { fence: 4 }));
      expect(await execute(anAppend(key, [2, 2], { fence: 3 }))).toEqual({
        kind: "fenced",
        fence: 4,
      });
    },
  },
  {
    name: "refuses and reports a fork: another item for a taken seq under a good fence",
    async run({ execute, logs, seqs, key, expect }) {
      await execute(anAppend(key, [1, 2]));
      const forked = anAppend(key, [2, 3], { fence: 2 });
      const items = [anItem(2, { id: "msg_other" }), anItem(3)];
      expect(await execute({ ...forked, items })).toEqual({ kind: "fenced", fence: 1 });
      expect(logs.at(-1)).toEqual({ event: "history_conflict", reason: "item_differs" });
      expect(await seqs()).toEqual([1, 2]);
    },
  },
  {
    name: "applies one of many concurrent deliveries of a batch",
    async run({ execute, seqs, key, expect }) {
      const batch = anAppend(key, [1, 3], { usage: [aUsage("turn_c")] });
      const replies = await Promise.all(Array.from({ length: 8 }, () => execute(batch)));
      const kinds = replies.map((reply) => reply.kind).sort();
      expect(kinds).toEqual(["applied", ...Array.from({ length: 7 }, () => "duplicate")]);
      expect(await seqs()).toEqual([1, 2, 3]);
    },
  },
  {
    name: "lets one of two concurrent successors win the seq",
    async run({ execute, seqs, key, expect }) {
      await execute(anAppend(key, [1, 1]));
      const other = anAppend(key, [2, 2], { items: [anItem(2, { id: "msg_other" })] });
      const replies = await Promise.all([execute(anAppend(key, [2, 2])), execute(other)]);
      expect(replies.map((reply) => reply.kind).sort()).toEqual(["applied", "fenced"]);
      expect(await seqs()).toEqual([1, 2]);
    },
  },
  {
    name: "keeps conversations of one id apart by tenant",
    async run({ execute, store, seqs, key, expect }) {
      const foreign = { ...key, tenant: "globex" as TenantId };
      await execute(anAppend(key, [1, 2]));
      expect(await readSeqs(store, foreign)).toEqual([]);
      expect(await execute(anAppend(foreign, [1, 1], { fence: 9 }))).toEqual({ kind: "applied" });
      expect(await execute(anAppend(key, [3, 3]))).toEqual({ kind: "applied" });
      expect(await readSeqs(store, foreign)).toEqual([1]);
      expect(await seqs()).toEqual([1, 2, 3]);
    },
  },
  {
    name: "gives back the JSON text byte for byte",
    async run({ execute, store, key, expect }) {
      const texts = [
        '{ "b":1, "a" : 1e2,\t"a":-0, "n":1.50 }',
        '{"text":"Zoë 漢字 🏳️‍🌈 e\u0301 \u{10FFFF} \u2028"}',
        '{"escaped":"\\u0000 \\ud800 \\n \\\\ $1 %s \'; drop table items; --"}',
        '""',
      ];
      const items = texts.map((json, index) => anItem(index + 1, { json }));
      expect(await execute(anAppend(key, [1, 4], { items }))).toEqual({ kind: "applied" });
      const stored = await store.read(key.tenant, key.conversationId, 0, 10, soon());
      expect(stored).toEqual(items);
    },
  },
  {
    name: "takes an item of 2 MB and a batch of 500",
    async run({ execute, store, seqs, key, expect }) {
      const json = JSON.stringify({ text: "ü🙂".repeat(350_000) });
      await execute(anAppend(key, [1, 1], { items: [anItem(1, { json })] }));
      expect(await execute(anAppend(key, [2, 501]))).toEqual({ kind: "applied" });
      const [first] = await store.read(key.tenant, key.conversationId, 0, 1, soon());
      expect(first).toEqual(anItem(1, { json }));
      expect(await seqs()).toHaveLength(501);
    },
  },
  {
    name: "refuses text that PostgreSQL cannot hold, and a batch with a hole, as bugs of the sender",
    async run({ execute, seqs, key, expect }) {
      for (const json of ['"\u0000"', '"\ud800"']) {
        const batch = anAppend(key, [1, 1], { items: [anItem(1, { json })] });
        await expect(execute(batch)).rejects.toThrow(/JSON/);
      }
      const holed = anAppend(key, [1, 2], { items: [anItem(1), anItem(3)] });
      await expect(execute(holed)).rejects.toThrow(/gapless/);
      expect(await seqs()).toEqual([]);
    },
  },
  {
    name: "pages through items",
    async run({ execute, store, key, expect }) {
      await execute(anAppend(key, [1, 5]));
      const page = (afterSeq: number, limit: number) =>
        store.read(key.tenant, key.conversationId, afterSeq, limit, soon());
      expect(await page(0, 2)).toEqual([anItem(1), anItem(2)]);
      expect(await page(2, 2)).toEqual([anItem(3), anItem(4)]);
      expect(await page(4, 2)).toEqual([anItem(5)]);
      expect(await page(5, 2)).toEqual([]);
      const { tenant, conversationId } = aConversation();
      expect(await store.read(tenant, conversationId, 0, 2, soon())).toEqual([]);
    },
  },
];
