import { createHash } from "node:crypto";
import { historyLink } from "#shared/protocol/internal/history.ts";
import type {
  HistoryItem,
  HistoryRelease,
  HistorySeal,
  HistoryUsage,
} from "#shared/protocol/internal/history.ts";
import { aDeletion, aUsage, anAppend, anErasure, anItem, jurisdiction } from "./harness.ts";
import type { CaseContext, HistoryCase } from "./harness.ts";

function aRelease(
  key: CaseContext["key"],
  fence = 1,
  usage: readonly HistoryUsage[] = [],
): HistoryRelease {
  return { v: 1, kind: "release", jurisdiction, ...key, fence, usage };
}

function aSeal(key: CaseContext["key"], fence = 1): HistorySeal {
  return { v: 1, kind: "seal", jurisdiction, ...key, fence };
}

/** The chain as the object computes it. */
function chainOf(items: readonly (HistoryItem & { readonly isDeleted?: boolean })[]): string {
  return items.reduce(
    (chain, item) =>
      createHash("sha256")
        .update(historyLink(chain, { isDeleted: false, ...item }))
        .digest("hex"),
    "",
  );
}

/** What moves a conversation between regions: the copy's seal, and the release of the old one. */
export const moveCases: readonly HistoryCase[] = [
  {
    name: "seals what it holds with the chain of its items, tombstones included",
    async run({ execute, key, expect }) {
      const tombstone = anItem(2, { json: "" });
      const items = [anItem(1, { turnId: "t1" }), tombstone, anItem(3, { json: '{"x":"ü🙂"}' })];
      await execute(anAppend(key, [1, 3], { items }));
      const chain = chainOf(items.map((item) => ({ ...item, isDeleted: item === tombstone })));
      expect(await execute(aSeal(key, 2))).toEqual({ kind: "sealed", nextSeq: 4, chain });
      expect(await execute(aSeal(key, 2))).toEqual({ kind: "sealed", nextSeq: 4, chain });
    },
  },
  {
    name: "hashes an item that was deleted here as one that was deleted before",
    async run({ execute, key, expect }) {
      await execute(anAppend(key, [1, 2]));
      await execute(aDeletion(key, 1));
      const chain = chainOf([{ ...anItem(1), isDeleted: true }, anItem(2)]);
      expect(await execute(aSeal(key))).toEqual({ kind: "sealed", nextSeq: 3, chain });
    },
  },
  {
    name: "shows no reader an item that came as a tombstone, and its deletion is a duplicate",
    async run({ execute, seqs, key, expect }) {
      await execute(anAppend(key, [1, 2], { items: [anItem(1, { json: "" }), anItem(2)] }));
      expect(await seqs()).toEqual([2]);
      expect(await execute(aDeletion(key, 1))).toEqual({ kind: "duplicate" });
    },
  },
  {
    name: "hashes a long conversation in the order of its seqs",
    async run({ execute, key, expect }) {
      await execute(anAppend(key, [1, 700]));
      await execute(anAppend(key, [701, 1201]));
      const items = Array.from({ length: 1201 }, (_, index) => anItem(index + 1));
      const sealed = await execute(aSeal(key));
      expect(sealed).toEqual({ kind: "sealed", nextSeq: 1202, chain: chainOf(items) });
    },
  },
  {
    name: "refuses what was sent before the seal",
    async run({ execute, seqs, key, expect }) {
      await execute(anAppend(key, [1, 1]));
      await execute(aSeal(key, 5));
      expect(await execute(anAppend(key, [2, 2], { fence: 4 }))).toEqual({
        kind: "fenced",
        fence: 5,
      });
      expect(await execute(aRelease(key, 4))).toEqual({ kind: "fenced", fence: 5 });
      expect(await execute(aSeal(key, 4))).toEqual({ kind: "fenced", fence: 5 });
      expect(await seqs()).toEqual([1]);
    },
  },
  {
    name: "seals a conversation that it never heard of, empty",
    async run({ execute, key, expect }) {
      expect(await execute(aSeal(key, 3))).toEqual({ kind: "sealed", nextSeq: 1, chain: "" });
      expect(await execute(anAppend(key, [1, 1], { fence: 2 }))).toEqual({
        kind: "fenced",
        fence: 3,
      });
    },
  },
  {
    name: "releases a conversation: nothing is left of it, and what comes late is refused",
    async run({ execute, seqs, key, expect }) {
      await execute(anAppend(key, [1, 3]));
      expect(await execute(aRelease(key, 2))).toEqual({ kind: "applied" });
      expect(await seqs()).toEqual([]);
      expect(await execute(anAppend(key, [4, 4]))).toEqual({ kind: "fenced", fence: 2 });
      expect(await execute(anAppend(key, [1, 3]))).toEqual({ kind: "fenced", fence: 2 });
      expect(await execute(aSeal(key, 2))).toEqual({ kind: "sealed", nextSeq: 1, chain: "" });
      expect(await execute(aRelease(key, 2))).toEqual({ kind: "applied" });
    },
  },
  {
    name: "takes a released conversation back under a higher fence, and the old release no more",
    async run({ execute, seqs, key, expect }) {
      await execute(anAppend(key, [1, 2]));
      await execute(aRelease(key, 2));
      expect(await execute(anAppend(key, [1, 3], { fence: 3 }))).toEqual({ kind: "applied" });
      expect(await execute(aRelease(key, 2))).toEqual({ kind: "fenced", fence: 3 });
      expect(await seqs()).toEqual([1, 2, 3]);
    },
  },
  {
    name: "takes the usage of a release once, also when the release itself is refused",
    async run({ execute, key, noteUsage, expect }) {
      const turnId = (suffix: string): string => `turn_${key.conversationId}_${suffix}`;
      const usage = [aUsage(turnId("a"))];
      await execute(anAppend(key, [1, 1], { usage }));
      await execute(aRelease(key, 2, [...usage, aUsage(turnId("b"), { promptTokens: 11 })]));
      await execute(aSeal(key, 9));
      const late = aRelease(key, 3, [aUsage(turnId("c"), { promptTokens: 12 })]);
      expect(await execute(late)).toEqual({ kind: "fenced", fence: 9 });
      noteUsage(turnId("a"), [10]);
      noteUsage(turnId("b"), [11]);
      noteUsage(turnId("c"), [12]);
    },
  },
  {
    name: "neither seals nor releases what was erased, and takes its usage",
    async run({ execute, seqs, key, noteUsage, expect }) {
      await execute(anAppend(key, [1, 1]));
      await execute(anErasure(key));
      const turnId = `turn_${key.conversationId}_e`;
      expect(await execute(aSeal(key, 2))).toEqual({ kind: "erased" });
      expect(await execute(aRelease(key, 2, [aUsage(turnId)]))).toEqual({ kind: "erased" });
      expect(await execute(anAppend(key, [1, 1], { fence: 3 }))).toEqual({ kind: "erased" });
      expect(await seqs()).toEqual([]);
      noteUsage(turnId, [10]);
    },
  },
];
