import { afterAll, afterEach, beforeAll, beforeEach, describe, test } from "vitest";

import { findRedisServer, startRedisServer } from "#test/support/redis-server.ts";
import type { RedisServer } from "#test/support/redis-server.ts";

import { commandCases } from "./command-cases.ts";
import { faultCases } from "./fault-cases.ts";
import { startKvHarness } from "./harness.ts";
import type { KvHarness } from "./harness.ts";

const cases = [...commandCases, ...faultCases];

/** Declares the whole table against one engine. */
function declareCases(redisUrl: () => string | undefined): void {
  let kv: KvHarness;
  // A server for each case: its clock and replicas begin anew, whatever the case before did to them.
  beforeEach(async () => {
    kv = await startKvHarness(redisUrl());
    await kv.client().flushall();
    kv.advance(1000);
  });
  afterEach(() => kv.close());
  test.for(cases)("$name", async (one, { expect }) => {
    expect.hasAssertions();
    await one.run(kv, expect);
  });
}

describe("KV on the in-memory engine", () => {
  declareCases(() => undefined);
});

const binary = findRedisServer();
const isSkipped = binary === undefined && process.env["MERIDIAN_REQUIRE_SERVICES"] !== "1";
if (isSkipped) {
  console.warn(
    `SKIPPED: redis-server not found on PATH; ${cases.length} KV cases ran on the in-memory engine only`,
  );
}

describe.skipIf(isSkipped)("KV on a real redis-server", () => {
  let redis: RedisServer | undefined;
  beforeAll(async () => {
    if (binary === undefined) {
      throw new Error("redis-server not found on PATH, and MERIDIAN_REQUIRE_SERVICES is 1");
    }
    redis = await startRedisServer(binary);
  });
  afterAll(() => redis?.stop());
  declareCases(() => redis?.url);
});
