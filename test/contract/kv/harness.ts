import { Redis } from "@upstash/redis/cloudflare";

import { startUpstash } from "#dev/upstash/index.ts";
import type { UpstashServer } from "#dev/upstash/index.ts";

export const regions = ["eu-west-1", "us-east-1"] as const;
const token = "writing-token";
const readOnlyToken = "reading-token";

interface ClientOptions {
  readonly region?: (typeof regions)[number];
  readonly isReadOnly?: boolean;
  readonly timeoutMs?: number;
  /** false keeps strings as they were stored, where the client would parse JSON. */
  readonly isDeserializing?: boolean;
}

/** One server with the real client, and the handles by which a case breaks it. */
export interface KvHarness {
  readonly server: UpstashServer;
  client(options?: ClientOptions): Redis;
  /** Puts a fault in force. */
  fault(fault: object): Promise<void>;
  clearFaults(): Promise<void>;
  /** Moves the clock of replication, and of expiry in memory, forward. */
  advance(ms: number): void;
  /** A request without the client. */
  fetch(path: string, init?: RequestInit): Promise<Response>;
  close(): Promise<void>;
}

/** Starts a server with a lag of one second; `redis` names a redis-server for the primary. */
export async function startKvHarness(redis?: string): Promise<KvHarness> {
  let aheadMs = 0;
  const server = await startUpstash({
    port: 0,
    regions,
    token,
    readOnlyToken,
    replicationLagMs: 1000,
    nowMs: () => Date.now() + aheadMs,
    ...(redis === undefined ? {} : { redis: new URL(redis) }),
  });
  const control = async (init: RequestInit): Promise<void> => {
    const response = await fetch(`${server.url}/control/faults`, init);
    if (!response.ok) throw new Error(await response.text());
  };
  return {
    server,
    client({ region, isReadOnly = false, timeoutMs = 5000, isDeserializing = true } = {}) {
      return new Redis({
        url: region === undefined ? server.url : server.regionUrl(region),
        token: isReadOnly ? readOnlyToken : token,
        retry: false,
        enableTelemetry: false,
        automaticDeserialization: isDeserializing,
        signal: () => AbortSignal.timeout(timeoutMs),
      });
    },
    fault: (fault) => control({ method: "POST", body: JSON.stringify(fault) }),
    clearFaults: () => control({ method: "DELETE" }),
    advance(ms) {
      aheadMs += ms;
    },
    fetch(path, init = {}) {
      const headers = new Headers(init.headers);
      if (!headers.has("authorization")) headers.set("authorization", `Bearer ${token}`);
      return fetch(`${server.url}${path}`, { ...init, headers });
    },
    close: () => server.close(),
  };
}
