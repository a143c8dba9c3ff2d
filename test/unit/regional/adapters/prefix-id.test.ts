import { expect, it } from "vitest";
import { createPrefixId } from "#regional/adapters/prefix-id.ts";

it("names a conversation for a provider's router, the same each time, for one tenant under one key", () => {
  const prefixId = createPrefixId("a".repeat(64));
  const own = prefixId("acme", "k1");
  expect(own).toMatch(/^[0-9a-f]{64}$/);
  expect(prefixId("acme", "k1")).toBe(own);
  const others = [
    prefixId("globex", "k1"),
    prefixId("acme", "k2"),
    createPrefixId("b".repeat(64))("acme", "k1"),
  ];
  expect(new Set([own, ...others]).size).toBe(4);
});
