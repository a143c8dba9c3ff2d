import { expect, it } from "vitest";
import {
  hasBrokenShard,
  isPoison,
  newPoisonTable,
  noteBroken as note,
} from "#shared/health/poison.ts";
import type { PoisonTable } from "#shared/health/poison.ts";

function noteBroken(table: PoisonTable, fingerprint: string, shard: string, nowMs: number) {
  return note(table, { fingerprint, shard, tenant: `of-${fingerprint}` }, nowMs);
}

it("is a prompt that broke two shards, for ten minutes from the last", () => {
  const one = noteBroken(newPoisonTable, "p", "a", 1_000);
  expect(isPoison(one, "p", 1_000)).toBe(false);
  expect(isPoison(noteBroken(one, "p", "a", 2_000), "p", 2_000)).toBe(false);
  const two = noteBroken(one, "p", "b", 2_000);
  expect(isPoison(two, "p", 601_999)).toBe(true);
  expect(isPoison(two, "p", 602_000)).toBe(false);
  expect(isPoison(two, "q", 2_000)).toBe(false);
});

it("is not one whose first shard broke too long ago", () => {
  const table = noteBroken(noteBroken(newPoisonTable, "p", "a", 0), "p", "b", 600_001);
  expect(isPoison(table, "p", 600_001)).toBe(false);
});

it("is kept for so many prompts and no more, the newest ones", () => {
  let table = newPoisonTable;
  for (let index = 0; index < 1_050; index += 1) table = noteBroken(table, `p${index}`, "a", index);
  expect(table.size).toBe(1_000);
  expect(isPoison(noteBroken(table, "p1049", "b", 1_050), "p1049", 1_050)).toBe(true);
  expect(isPoison(noteBroken(table, "p0", "b", 1_050), "p0", 1_050)).toBe(false);
});

it("marks its tenant from the first shard on, for ten minutes", () => {
  const table = noteBroken(newPoisonTable, "p", "a", 1_000);
  expect(hasBrokenShard(table, "of-p", 600_999)).toBe(true);
  expect(hasBrokenShard(table, "of-p", 601_000)).toBe(false);
  expect(hasBrokenShard(table, "of-q", 1_000)).toBe(false);
});
