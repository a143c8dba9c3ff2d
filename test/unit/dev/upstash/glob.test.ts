import { expect, test } from "vitest";

import { expressionOfGlob } from "#dev/upstash/glob.ts";

const rows: readonly [glob: string, matches: readonly string[], refuses: readonly string[]][] = [
  ["*", ["", "a", "a\nb"], []],
  ["shard:*:load", ["shard:1:load", "shard::load"], ["shard:1", "xshard:1:load"]],
  ["a?c", ["abc", "a?c"], ["ac", "abbc"]],
  ["[abc]", ["a", "c"], ["d", "ab"]],
  ["[a-c]x", ["bx"], ["dx", "-x"]],
  ["[c-a]x", ["bx"], ["dx"]],
  ["[^a-c]", ["d", "^"], ["a"]],
  ["a\\*", ["a*"], ["ab"]],
  ["a.b+(c)", ["a.b+(c)"], ["axb+(c)"]],
  ["**a**", ["xay"], ["xy"]],
  ["[a", [], ["[a", "a"]],
];

test.for(rows)("%s matches as in Redis", ([glob, matches, refuses]) => {
  const expression = expressionOfGlob(glob);
  expect(matches.filter((key) => !expression.test(key))).toEqual([]);
  expect(refuses.filter((key) => expression.test(key))).toEqual([]);
});
