import type { LookupAddress } from "node:dns";
import type { LookupFunction } from "node:net";
import { describe, expect, it } from "vitest";
import { createShardLookup, isPrivateAddress } from "#regional/backends/shard-lookup.ts";

describe("private addresses", () => {
  it.each([
    "0.0.0.0",
    "10.0.0.1",
    "10.255.255.255",
    "100.64.0.1",
    "127.0.0.1",
    "127.255.0.9",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.8",
    "192.168.1.1",
    "198.19.0.1",
    "224.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::ffff:10.0.0.1",
    "::ffff:7f00:1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b::10.0.0.1",
    "2001::1",
    "2002:a00:1::",
    "fd00::1",
    "fc00::",
    "fe80::1",
    "fec0::1",
    "ff02::1",
  ])("include %s", (address) => {
    expect(isPrivateAddress(address)).toBe(true);
  });

  it.each([
    "1.1.1.1",
    "9.255.255.255",
    "11.0.0.0",
    "100.63.255.255",
    "100.128.0.0",
    "126.255.255.255",
    "128.0.0.0",
    "169.253.255.255",
    "172.15.255.255",
    "172.32.0.0",
    "192.167.255.255",
    "198.17.255.255",
    "223.255.255.255",
    "::ffff:1.1.1.1",
    "64:ff9b::1.1.1.1",
    "2606:4700::1111",
    "2003::1",
  ])("do not include %s", (address) => {
    expect(isPrivateAddress(address)).toBe(false);
  });
});

interface Answer {
  readonly error: Error | null;
  readonly address: string | LookupAddress[];
  readonly refusals: number;
}

/** Resolves `hostname` to `found` under the guard. */
function resolve(
  hostname: string,
  found: string | readonly string[] | Error,
  allowsPrivate = false,
): Answer {
  let answer: Answer | null = null;
  let refusals = 0;
  const lookup: LookupFunction = (_name, _options, callback) => {
    if (found instanceof Error) return callback(found, []);
    if (typeof found === "string") return callback(null, found, 4);
    callback(
      null,
      found.map((address) => ({ address, family: address.includes(":") ? 6 : 4 })),
    );
  };
  const onRefused = (): void => {
    refusals += 1;
  };
  createShardLookup({ allowsPrivate, onRefused, lookup })(hostname, {}, (error, address) => {
    answer = { error, address, refusals };
  });
  if (answer === null) throw new Error("no answer");
  return answer;
}

describe("the name of a shard", () => {
  it("is resolved to public addresses, one or many", () => {
    expect(resolve("gpu.example.com", "1.1.1.1")).toEqual({
      error: null,
      address: "1.1.1.1",
      refusals: 0,
    });
    const { error, address } = resolve("gpu.example.com", ["1.1.1.1", "2606:4700::1111"]);
    expect([error, address]).toMatchObject([null, [{ family: 4 }, { family: 6 }]]);
  });

  it.each([
    ["a private one", "10.0.0.1"],
    ["the cloud's metadata service", "169.254.169.254"],
    ["a list with a private one at its end", ["1.1.1.1", "2606:4700::1111", "fd00::1"]],
    ["a private one in another notation", ["::ffff:127.0.0.1"]],
  ])("is refused with %s", (_what, found) => {
    const { error, address, refusals } = resolve("gpu.example.com", found);
    expect(error?.message).toBe("a shard's name has a private address");
    expect([address, refusals]).toEqual([[], 1]);
  });

  it("may have a private address when the topology says so", () => {
    const answer = resolve("gpu.internal", ["10.0.0.1"], true);
    expect(answer).toMatchObject({ error: null, address: [{ address: "10.0.0.1" }], refusals: 0 });
  });

  it("may be localhost, which names itself", () => {
    expect(resolve("localhost", "127.0.0.1").error).toBeNull();
    expect(resolve("engine.localhost", ["::1"]).error).toBeNull();
  });

  it.each(["localhost.", "localhost.example.com", "notlocalhost"])(
    "is not localhost: %s",
    (hostname) => {
      expect(resolve(hostname, "127.0.0.1").refusals).toBe(1);
    },
  );

  it("hands on the resolver's own error", () => {
    const failure = new Error("ENOTFOUND");
    expect(resolve("gpu.example.com", failure)).toMatchObject({ error: failure, refusals: 0 });
  });
});
