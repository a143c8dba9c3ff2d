import { describe, expect, it, onTestFinished } from "vitest";
import { createSageMakerPlatform } from "#regional/backends/platforms/sagemaker-platform.ts";
import { startFakeAwsControl } from "#test/support/fake-aws-control.ts";
import { aPool } from "#test/sim/scaler/region.ts";

const pool = aPool({ replicasMax: 9 });
const none = new Set<string>();

async function aPlatform() {
  const aws = await startFakeAwsControl();
  let nowMs = 0;
  const platform = createSageMakerPlatform({
    placeOf: ({ id }) =>
      id === pool.id ? { region: "eu-west-1", inferenceComponent: "llama-8b" } : null,
    monotonicMs: () => nowMs,
    settings: {
      endpoint: aws.url,
      credentials: { accessKeyId: "test", secretAccessKey: "test" },
    },
  });
  onTestFinished(async () => {
    platform.close();
    await aws.close();
  });
  const signal = new AbortController().signal;
  return {
    aws,
    platform,
    later: (byMs: number) => void (nowMs += byMs),
    observe: () => platform.observe(pool, none, signal),
    apply: (replicas: number, by = signal) => platform.apply(pool, replicas, 7, by),
  };
}

describe("SageMaker's control planes, spoken to by the real clients", () => {
  it("tell what the copies are set to and what runs", async () => {
    const { aws, observe } = await aPlatform();
    aws.copies = { desired: 4, current: 3 };
    expect(await observe()).toStrictEqual({ desired: 4, ready: 3 });
    expect(aws.calls).toStrictEqual([
      {
        operation: "DescribeInferenceComponent",
        body: { InferenceComponentName: "llama-8b" },
      },
    ]);
  });

  it("are asked once in fifteen seconds, and again after a change", async () => {
    const { apply, aws, later, observe } = await aPlatform();
    await observe();
    later(14_999);
    await observe();
    expect(aws.calls).toHaveLength(1);
    later(1);
    await observe();
    expect(aws.calls).toHaveLength(2);
    await apply(3);
    expect(await observe()).toStrictEqual({ desired: 3, ready: 2 });
  });

  it("get the floor first, then the copies", async () => {
    const { apply, aws } = await aPlatform();
    expect(await apply(5)).toBe("applied");
    expect(aws.calls).toStrictEqual([
      {
        operation: "RegisterScalableTarget",
        body: {
          ServiceNamespace: "sagemaker",
          ResourceId: "inference-component/llama-8b",
          ScalableDimension: "sagemaker:inference-component:DesiredCopyCount",
          MinCapacity: 5,
          MaxCapacity: 9,
        },
      },
      {
        operation: "UpdateInferenceComponentRuntimeConfig",
        body: { InferenceComponentName: "llama-8b", DesiredRuntimeConfig: { CopyCount: 5 } },
      },
    ]);
  });

  it("may get an order twice", async () => {
    const { apply, aws } = await aPlatform();
    await apply(5);
    expect(await apply(5)).toBe("applied");
    expect(aws).toMatchObject({ copies: { desired: 5 }, floor: { min: 5, max: 9 } });
  });

  it.each([
    ["ThrottlingException", 400, "throttled"],
    ["ConcurrentUpdateException", 400, "throttled"],
    ["LimitExceededException", 400, "quotaRefused"],
    ["ResourceLimitExceeded", 400, "quotaRefused"],
    ["ValidationException", 400, "failed"],
    ["AccessDeniedException", 400, "failed"],
    ["InternalServiceException", 500, "failed"],
  ])("answer %s (%i): %s, after one try", async (name, status, outcome) => {
    const { apply, aws } = await aPlatform();
    aws.refuse = () => ({ name, status });
    expect(await apply(5)).toBe(outcome);
    expect(aws.calls).toHaveLength(1);
    expect(aws.copies.desired).toBe(2);
  });

  it("that take the floor and refuse the copies leave an order that is not applied", async () => {
    const { apply, aws, observe } = await aPlatform();
    aws.refuse = (operation) =>
      operation === "UpdateInferenceComponentRuntimeConfig"
        ? { name: "ResourceLimitExceeded", status: 400 }
        : null;
    expect(await apply(5)).toBe("quotaRefused");
    expect(await observe()).toStrictEqual({ desired: 2, ready: 2 });
  });

  it("that cannot be read tell nothing", async () => {
    const { aws, observe } = await aPlatform();
    aws.refuse = () => ({ name: "AccessDeniedException", status: 400 });
    expect(await observe()).toBeNull();
  });

  it("that do not answer are given up when the call's time is over", async () => {
    const { apply, aws } = await aPlatform();
    aws.refuse = () => "silence";
    const controller = new AbortController();
    const applied = apply(5, controller.signal);
    await expect.poll(() => aws.calls.length).toBe(1);
    controller.abort();
    expect(await applied).toBe("failed");
  });

  it("are not asked for a pool that is not theirs", async () => {
    const { aws, platform } = await aPlatform();
    const other = aPool({ id: "other" });
    const { signal } = new AbortController();
    expect(await platform.observe(other, none, signal)).toBeNull();
    expect(await platform.apply(other, 3, 1, signal)).toBe("failed");
    expect(aws.calls).toStrictEqual([]);
  });
});
