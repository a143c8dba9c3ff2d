import { describe, it } from "vitest";
import { lifecyclePolicyOf } from "#shared/warming/lifecycle-policy.ts";

describe("what the topology says of a shard's platform", () => {
  it.for([
    [{ backend: { kind: "simulated" } }, null, 1_000],
    [{ backend: { kind: "simulated", coldStartMs: 7_000 } }, null, 7_000],
    [{ backend: { kind: "simulated", coldStartMs: 7_000 }, coldStartSeconds: 2.5 }, null, 2_500],
    [
      {
        backend: { kind: "sagemaker", endpointName: "e", region: "eu-west-1" },
        scaleToZeroSeconds: 600,
      },
      600_000,
      260_000,
    ],
  ] as const)("is the declared time, else the platform's usual one: %j", (given, { expect }) => {
    const [shard, scaleToZeroMs, coldStartMs] = given;
    expect(lifecyclePolicyOf(shard)).toStrictEqual({ scaleToZeroMs, coldStartMs });
  });
});
