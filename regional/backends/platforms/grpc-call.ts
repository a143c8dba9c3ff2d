import { connect, constants } from "node:http2";

/** Status codes of gRPC that somebody here tells apart (grpc.io, "Status codes"). */
export const grpcStatus = {
  ok: 0,
  notFound: 5,
  resourceExhausted: 8,
  failedPrecondition: 9,
  unauthenticated: 16,
};

export interface GrpcCall {
  /** Of the service, http or https. */
  readonly origin: string;
  /** `/package.Service/Method`. */
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly message: Uint8Array;
}

/** How a call ended; `null` for its status: nobody knows whether it was carried out. */
export interface GrpcAnswer {
  readonly status: number | null;
  readonly message: Uint8Array;
}

const lost: GrpcAnswer = { status: null, message: new Uint8Array() };
/** One byte that says whether it is compressed, and four of its length (gRPC over HTTP/2, "Length-Prefixed-Message"). */
const frameHeadBytes = 5;
/** Longest answer that is read, as gRPC's own libraries have it. */
const answerBytesMax = 4 * 1024 * 1024;

function framed(message: Uint8Array): Buffer {
  const head = Buffer.alloc(frameHeadBytes);
  head.writeUInt32BE(message.length, 1);
  return Buffer.concat([head, message]);
}

/** The one message of an answer; null when it is compressed, cut off or missing. */
function unframed(body: Buffer): Uint8Array | null {
  if (body.length < frameHeadBytes || body[0] !== 0) return null;
  const length = body.readUInt32BE(1);
  return body.length < frameHeadBytes + length
    ? null
    : body.subarray(frameHeadBytes, frameHeadBytes + length);
}

/**
 * One unary call of gRPC, on a connection of its own: a control plane is asked a few times a minute. One try; never rejects; after
 * `signal` aborts nothing more is sent.
 */
export function callGrpc(call: GrpcCall, signal: AbortSignal): Promise<GrpcAnswer> {
  if (signal.aborted) return Promise.resolve(lost);
  return new Promise((resolve) => {
    const session = connect(call.origin);
    let status: number | null = null;
    const chunks: Buffer[] = [];
    let bytes = 0;
    const end = (answer: GrpcAnswer): void => {
      signal.removeEventListener("abort", giveUp);
      resolve(answer);
      session.destroy();
    };
    const giveUp = (): void => end(lost);
    const note = (headers: Readonly<Record<string, unknown>>): void => {
      const said = headers["grpc-status"];
      if (typeof said === "string" && /^\d{1,2}$/.test(said)) status = Number(said);
    };
    signal.addEventListener("abort", giveUp);
    session.on("error", giveUp);
    const stream = session.request({
      ...call.headers,
      [constants.HTTP2_HEADER_METHOD]: "POST",
      [constants.HTTP2_HEADER_PATH]: call.path,
      [constants.HTTP2_HEADER_CONTENT_TYPE]: "application/grpc",
      [constants.HTTP2_HEADER_TE]: "trailers",
    });
    stream.on("error", giveUp);
    // A refusal has its status in the headers, an answer behind its body.
    stream.on("response", note);
    stream.on("trailers", note);
    stream.on("data", (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes > answerBytesMax) giveUp();
      else chunks.push(chunk);
    });
    stream.on("end", () => {
      if (status === null || status !== grpcStatus.ok)
        return end({ status, message: new Uint8Array() });
      const message = unframed(Buffer.concat(chunks));
      end(message === null ? lost : { status, message });
    });
    stream.on("close", giveUp);
    stream.end(framed(call.message));
  });
}
