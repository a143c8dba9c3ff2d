import { createServer } from "node:http2";
import type { Http2Session, IncomingHttpHeaders, ServerHttp2Stream } from "node:http2";
import type { AddressInfo } from "node:net";
import {
  bytesField,
  bytesOf,
  numberField,
  numberOf,
  readFields,
} from "#regional/backends/platforms/protobuf.ts";

/** A call as the control plane got it. */
export interface ModalCall {
  readonly method: string;
  readonly headers: IncomingHttpHeaders;
  /** The message's bytes. */
  readonly hex: string;
}

/** What becomes of a call in place of its being served. */
export type ModalRefusal =
  | { readonly grpcStatus: number; readonly inTrailers?: boolean }
  /** Bytes in place of an answer, with a status of 0. */
  | { readonly body: Buffer }
  | "silence"
  | "reset";

/** Modal's control plane with one server, over gRPC without TLS. */
export interface FakeModalControl {
  readonly origin: string;
  readonly calls: ModalCall[];
  /** Id of the server; another one after a deploy. */
  id: string;
  containers: number;
  settings: { min: number; max: number; buffer: number } | null;
  /** Largest floor that is really set. */
  containersMinMax: number;
  refuse: (method: string) => ModalRefusal | null;
  close(): Promise<void>;
}

const prefix = "/modal.client.ModalClient/";

function frame(message: Uint8Array): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt32BE(message.length, 1);
  return Buffer.concat([head, message]);
}

function textOf(message: Uint8Array, field: number): string {
  return Buffer.from(bytesOf(readFields(message) ?? [], field) ?? []).toString("utf8");
}

export async function startFakeModalControl(): Promise<FakeModalControl> {
  const sessions = new Set<Http2Session>();
  const server = createServer();
  server.on("session", (session) => {
    sessions.add(session);
    session.on("close", () => sessions.delete(session));
  });
  server.on("stream", (stream: ServerHttp2Stream, headers) => {
    const chunks: Buffer[] = [];
    stream.on("error", () => {});
    stream.on("data", (chunk: Buffer) => chunks.push(chunk));
    stream.on("end", () => {
      const message = Buffer.concat(chunks).subarray(5);
      const method = String(headers[":path"]).slice(prefix.length);
      fake.calls.push({ method, headers, hex: message.toString("hex") });
      const refused = fake.refuse(method);
      if (refused === "silence") return;
      if (refused === "reset") return stream.destroy();
      if (refused !== null && "grpcStatus" in refused && refused.inTrailers !== true)
        return stream.respond(
          { ":status": 200, "content-type": "application/grpc", "grpc-status": refused.grpcStatus },
          { endStream: true },
        );
      const status = refused !== null && "grpcStatus" in refused ? refused.grpcStatus : 0;
      stream.respond(
        { ":status": 200, "content-type": "application/grpc" },
        { waitForTrailers: true },
      );
      stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": status }));
      const body =
        refused !== null && "body" in refused ? refused.body : frame(serve(method, message));
      stream.end(status === 0 ? body : undefined);
    });
  });

  function serve(method: string, message: Uint8Array): Buffer {
    switch (method) {
      case "AuthTokenGet":
        return bytesField(1, "a.b.c");
      case "FunctionGet":
        // A field that nobody reads, as the real answer has many.
        return Buffer.concat([bytesField(1, fake.id), bytesField(2, numberField(8, 1))]);
      case "FunctionGetCurrentStats":
        return Buffer.concat([numberField(1, 5), numberField(3, fake.containers)]);
      case "FunctionUpdateSchedulingParams": {
        const settings = bytesOf(readFields(message) ?? [], 3);
        const told = readFields(settings ?? new Uint8Array()) ?? [];
        fake.settings = {
          min: Math.min(fake.containersMinMax, numberOf(told, 1) ?? fake.settings?.min ?? 0),
          max: numberOf(told, 2) ?? fake.settings?.max ?? 0,
          buffer: numberOf(told, 3) ?? fake.settings?.buffer ?? 0,
        };
        const { buffer, max, min } = fake.settings;
        const now = Buffer.concat([
          numberField(1, min),
          numberField(2, max),
          numberField(3, buffer),
        ]);
        return textOf(message, 1) === fake.id ? bytesField(1, now) : Buffer.alloc(0);
      }
      default:
        return Buffer.alloc(0);
    }
  }

  const fake: FakeModalControl = {
    origin: "",
    calls: [],
    id: "fu-1",
    containers: 0,
    settings: null,
    containersMinMax: Infinity,
    refuse: () => null,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const session of sessions) session.destroy();
      }),
  };
  await new Promise<void>((resolve) => {
    server.listen(0, "127.0.0.1", resolve);
  });
  const { port } = server.address() as AddressInfo;
  return Object.assign(fake, { origin: `http://127.0.0.1:${port}` });
}
