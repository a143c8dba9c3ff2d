import { describe, expect, it } from "vitest";
import { defaultKeyRate, describeKeys, limitsSchema, tenantKeys } from "#shared/config/limits.ts";

const digests = ["env:NIGHTLY"];

function complaintsAbout(keys: readonly unknown[]): (readonly [path: string, wanted: string])[] {
  const read = tenantKeys.safeParse(keys);
  if (read.success) return [];
  return read.error.issues.map(({ path, message }) => [path.join("."), message] as const);
}

describe("a tenant's keys", () => {
  it("are two digests of one key without a name, and keys with names of their own", () => {
    const keys = ["env:A", { id: "nightly", digests, limits: { requestsPerMinute: 1 } }, "env:B"];
    const read = tenantKeys.parse(keys);
    expect(describeKeys(read, {})).toEqual([
      { id: "default", digests: ["env:A", "env:B"], limits: defaultKeyRate },
      { id: "nightly", digests, limits: { requestsPerMinute: 1 } },
    ]);
  });

  it.each([
    { keys: [{ id: "default", digests }], path: "", wanted: "an id other than 'default'" },
    { keys: [0, 1].map(() => ({ id: "a", digests })), path: "", wanted: "ids that differ" },
    { keys: [{ id: "a", digests: [] }], path: "0.digests", wanted: "" },
    { keys: [{ id: "a", digests: ["A", "env:B"] }], path: "0.digests.0", wanted: "sha256:" },
    { keys: [{ id: "A B", digests }], path: "0.id", wanted: "lower-case letters" },
    { keys: [{ id: "a", digests, limit: {} }], path: "0", wanted: "" },
    { keys: [{ id: "a", digests, limits: { rpm: 1 } }], path: "0.limits", wanted: "" },
    { keys: [7], path: "0", wanted: "" },
    {
      keys: Array.from({ length: 17 }, (_, n) => ({ id: `k${n}`, digests })),
      path: "",
      wanted: "at most 16",
    },
  ])("are refused with the place of what is wrong: $path $wanted", ({ keys, path, wanted }) => {
    const complaints = complaintsAbout(keys);
    expect(complaints.map(([place]) => place)).toContain(path);
    expect(complaints.map(([, text]) => text).join("\n")).toContain(wanted);
  });

  it("have the starting rate only where neither they nor their tenant limit requests", () => {
    const keys = tenantKeys.parse([{ id: "a", digests, limits: { tokensPerMinute: 5 } }]);
    const limitsOf = (tenant: object) => describeKeys(keys, tenant).map(({ limits }) => limits);
    expect(limitsOf({})).toEqual([defaultKeyRate, { tokensPerMinute: 5, ...defaultKeyRate }]);
    expect(limitsOf({ requestsPerSecond: 7 })).toEqual([{}, { tokensPerMinute: 5 }]);
    expect(limitsOf({ requestsPerMinute: 7 })).toEqual([{}, { tokensPerMinute: 5 }]);
    expect(limitsOf({ budgetMicroUsdPerDay: 7 })[0]).toEqual(defaultKeyRate);
  });
});

describe("a limit", () => {
  it.each(["requestsPerMinute", "requestsPerSecond", "tokensPerMinute", "concurrentRequestsMax"])(
    "is a whole number from 1: %s",
    (field) => {
      expect(limitsSchema.safeParse({ [field]: 1 }).success).toBe(true);
      for (const value of [0, -1, 1.5, "1", 1e10]) {
        expect(limitsSchema.safeParse({ [field]: value }).success).toBe(false);
      }
    },
  );

  it("of a burst needs the rate that gives it back", () => {
    expect(limitsSchema.safeParse({ requestsBurstMax: 5, requestsPerSecond: 1 }).success).toBe(
      true,
    );
    expect(limitsSchema.safeParse({ requestsBurstMax: 5 }).error?.issues).toMatchObject([
      { path: ["requestsBurstMax"], message: expect.stringContaining("requestsPerSecond") },
    ]);
  });

  it("of money fits the 15 digits of a header's integer", () => {
    const budget = (value: number) => ({ budgetMicroUsdPerMonth: value });
    expect(limitsSchema.safeParse(budget(999_999_999_999_999)).success).toBe(true);
    expect(limitsSchema.safeParse(budget(1_000_000_000_000_000)).success).toBe(false);
  });
});
