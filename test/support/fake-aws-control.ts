import { createServer } from "node:http";
import type { AddressInfo } from "node:net";

/** A call as the services got it: AWS JSON 1.1. */
export interface AwsCall {
  readonly operation: string;
  readonly body: Record<string, unknown>;
}

/** SageMaker's and Application Auto Scaling's control planes of one inference component. */
export interface FakeAwsControl {
  readonly url: string;
  readonly calls: AwsCall[];
  copies: { desired: number; current: number };
  /** The floor and ceiling that were registered. */
  floor: { min: number; max: number } | null;
  /** Refuses an operation: the exception's name and status; null serves it; `silence` never answers. */
  refuse: (
    operation: string,
  ) => { readonly name: string; readonly status: number } | "silence" | null;
  close(): Promise<void>;
}

export async function startFakeAwsControl(): Promise<FakeAwsControl> {
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      const target = String(request.headers["x-amz-target"]);
      const operation = target.slice(target.indexOf(".") + 1);
      const body = JSON.parse(Buffer.concat(chunks).toString("utf8")) as Record<string, unknown>;
      fake.calls.push({ operation, body });
      const answer = (status: number, value: object): void => {
        response.writeHead(status, { "content-type": "application/x-amz-json-1.1" });
        response.end(JSON.stringify(value));
      };
      const refused = fake.refuse(operation);
      if (refused === "silence") return;
      if (refused !== null)
        return answer(refused.status, { __type: refused.name, message: "as the service says" });
      answer(200, serve(operation, body));
    });
  });

  function serve(operation: string, body: Record<string, unknown>): object {
    switch (operation) {
      case "DescribeInferenceComponent":
        return {
          InferenceComponentName: body["InferenceComponentName"],
          RuntimeConfig: {
            DesiredCopyCount: fake.copies.desired,
            CurrentCopyCount: fake.copies.current,
          },
        };
      case "RegisterScalableTarget":
        fake.floor = { min: Number(body["MinCapacity"]), max: Number(body["MaxCapacity"]) };
        return {
          ScalableTargetARN: "arn:aws:application-autoscaling:eu-west-1:0:scalable-target/x",
        };
      case "UpdateInferenceComponentRuntimeConfig": {
        const config = body["DesiredRuntimeConfig"] as { CopyCount: number };
        fake.copies.desired = config.CopyCount;
        return { InferenceComponentArn: "arn:aws:sagemaker:eu-west-1:0:inference-component/x" };
      }
      default:
        return {};
    }
  }

  const fake: FakeAwsControl = {
    url: "",
    calls: [],
    copies: { desired: 2, current: 2 },
    floor: null,
    refuse: () => null,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
  await new Promise<void>((resolve) => {
    server.listen(0, "127.0.0.1", resolve);
  });
  const { port } = server.address() as AddressInfo;
  return Object.assign(fake, { url: `http://127.0.0.1:${port}` });
}
