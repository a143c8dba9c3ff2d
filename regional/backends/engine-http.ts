import { Agent as HttpAgent, request as httpRequest } from "node:http";
import type { ClientRequest, IncomingMessage, RequestOptions } from "node:http";
import type { LookupFunction } from "node:net";
import { Agent as HttpsAgent, request as httpsRequest } from "node:https";

/** How long a connection to a shard may take, ms: shards stand in the cell's own zone. */
const connectTimeoutMs = 2_000;
/** Idle sockets are closed before common servers close them (uvicorn keeps 5 s), so that fewer reused ones are dead. */
const idleSocketMs = 4_000;

/** One HTTP call to a shard: the head of its answer, its body still to be read. */
export type EngineResponse =
  | { readonly kind: "response"; readonly message: IncomingMessage }
  | { readonly kind: "unreachable" };

/** What to send; headers are complete, nothing of a client's is added. */
export interface EngineHttpCall {
  readonly method: "GET" | "POST";
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array | string | null;
}

/** HTTP towards one shard: own sockets, no redirects, no default headers. */
export interface EngineHttp {
  send(call: EngineHttpCall, signal: AbortSignal): Promise<EngineResponse>;
  close(): void;
}

/**
 * Sockets of one shard. A call that fails on a reused socket before any byte of an answer is sent once more on a fresh
 * one: the server had closed the idle socket (Node.js documentation of `request.reusedSocket`). node:http follows no
 * redirects and adds no headers of its own but `host` and `connection`, which `fetch` does. `lookup` resolves the shard's
 * name for each socket.
 */
export function createEngineHttp(isSecure: boolean, lookup: LookupFunction): EngineHttp {
  const options = { keepAlive: true, timeout: idleSocketMs, lookup };
  const agent = isSecure ? new HttpsAgent(options) : new HttpAgent(options);
  const request = isSecure ? httpsRequest : httpRequest;

  function sendOnce(
    call: EngineHttpCall,
    signal: AbortSignal,
  ): Promise<EngineResponse | { readonly kind: "stale" }> {
    return new Promise((resolve) => {
      const { hostname, pathname, port, search } = call.url;
      // A list is written as it is: an object's headers are each checked, folded and looked up once more.
      const headers = ["host", call.url.host, ...Object.entries(call.headers).flat()];
      const settings: RequestOptions = {
        method: call.method,
        hostname: hostname.startsWith("[") ? hostname.slice(1, -1) : hostname,
        port,
        path: `${pathname}${search}`,
        headers,
        agent,
      };
      const outgoing = request(settings);
      let received: IncomingMessage | null = null;
      // Not the `signal` option: it destroys a socket that was just given back, which then errs with nobody listening.
      const abort = (): void => {
        if (received?.complete !== true) outgoing.destroy();
      };
      signal.addEventListener("abort", abort, { once: true });
      outgoing.on("close", () => signal.removeEventListener("abort", abort));
      limitConnecting(outgoing);
      outgoing.on("response", (message) => {
        // Whoever reads learns of an error by its read; an abort after the last read would otherwise end the process.
        message.on("error", () => {});
        received = message;
        resolve({ kind: "response", message });
      });
      outgoing.on("error", () =>
        resolve({
          kind: outgoing.reusedSocket && !signal.aborted ? "stale" : "unreachable",
        }),
      );
      outgoing.end(call.body ?? undefined);
    });
  }

  return {
    async send(call, signal) {
      if (signal.aborted) return { kind: "unreachable" };
      const first = await sendOnce(call, signal);
      if (first.kind !== "stale") return first;
      const fresh = await sendOnce(call, signal);
      return fresh.kind === "stale" ? { kind: "unreachable" } : fresh;
    },
    close() {
      agent.destroy();
    },
  };
}

/** Destroys `outgoing` when its socket is not connected in time. */
function limitConnecting(outgoing: ClientRequest): void {
  outgoing.on("socket", (socket) => {
    // The agent's idle timeout would also fire on a long prefill; the runner has its own times.
    socket.setTimeout(0);
    if (!socket.connecting) return;
    const timer = setTimeout(
      () => outgoing.destroy(new Error("connect timeout")),
      connectTimeoutMs,
    );
    timer.unref();
    const stop = (): void => clearTimeout(timer);
    socket.once("connect", stop);
    socket.once("close", stop);
  });
}

/** The body of `message` up to `bytesMax`, or null when it is longer or breaks off. */
export async function readWhole(
  message: IncomingMessage,
  bytesMax: number,
): Promise<Uint8Array | null> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  try {
    for await (const chunk of message as AsyncIterable<Uint8Array>) {
      bytes += chunk.byteLength;
      if (bytes > bytesMax) {
        message.destroy();
        return null;
      }
      chunks.push(chunk);
    }
  } catch {
    return null;
  }
  return Buffer.concat(chunks);
}
