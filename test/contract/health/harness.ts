import { createHmac } from "node:crypto";
import { Redis } from "@upstash/redis";
import { startUpstash } from "#dev/upstash/index.ts";
import { createHealthHints } from "#edge/adapters/health-hints.ts";
import type { HealthHints } from "#edge/adapters/health-hints.ts";
import { createHealthPublisher } from "#regional/adapters/health-publisher.ts";
import type {
  CellSnapshot,
  HealthPublisher,
  PublishFailure,
} from "#regional/adapters/health-publisher.ts";
import type { CellDescription, ShardDescription } from "#shared/config/topology.ts";
import { encodeHint } from "#shared/health/hint-codec.ts";
import type { CellHint } from "#shared/health/hint.ts";
import type { CellId, Jurisdiction, RegionId, ShardId } from "#shared/residency/brands.ts";

export const eu = "eu" as Jurisdiction;
export const us = "us" as Jurisdiction;
export const west = "eu-west-1a" as CellId;
export const central = "eu-central-1a" as CellId;
export const east = "us-east-1a" as CellId;
export const model = "llama";
/** The one replica; the edge reads it, cells write to the primary. */
export const region = "eu-west-1";

const tokens = { token: "writing-token", readOnlyToken: "reading-token" };
const macKeyHex = "5a".repeat(32);

export const mac = (text: string): string =>
  createHmac("sha256", Buffer.from(macKeyHex, "hex")).update(text).digest("hex");

const aCell = (id: CellId, jurisdiction: Jurisdiction): CellDescription => ({
  id,
  jurisdiction,
  region: id.slice(0, -1) as RegionId,
  zone: "a",
  url: "http://127.0.0.1:1",
});

export const cells = [aCell(west, eu), aCell(central, eu), aCell(east, us)];
export const shards = cells.map(({ id }): ShardDescription => ({
  id: `${id}/llama-0` as ShardId,
  cell: id,
  model,
  revision: "r1",
  backend: { kind: "simulated" },
  concurrentRequestsMax: 64,
  kvTokensMax: 1_000,
  purchase: "on-demand",
  pricePerHourMicroUsd: 0,
}));

export const aSnapshot = (cell: CellId, weight = 1): CellSnapshot => ({
  weight,
  saturation: 0.5,
  level: 0,
  models: [model],
  shards: [
    {
      id: `${cell}/llama-0`,
      weight,
      state: "ready",
      readyInSeconds: null,
      inFlight: 1,
      queued: 0,
      breaker: "closed",
    },
  ],
});

export const aHint = (cell: CellId, overrides: Partial<CellHint> = {}): CellHint => ({
  v: 2,
  cell,
  boot: 1,
  counter: 1,
  atMs: 1,
  ...aSnapshot(cell),
  ...overrides,
});

/** A value that `cell` would have written. */
export const signed = (hint: CellHint): Promise<string | null> => encodeHint(hint, mac);

export interface PublisherUnderTest extends HealthPublisher {
  readonly failures: PublishFailure[];
}

export interface HintsUnderTest extends HealthHints {
  readonly failures: string[];
  /** Asks the KV now; resolves when the background work has ended. */
  refreshed(): Promise<void>;
}

/** A local KV with the real adapters on both sides, one settable clock, and the faults. */
export async function startHealthHarness() {
  const server = await startUpstash({ port: 0, regions: [region], ...tokens });
  const stops: (() => void)[] = [];
  let nowMs = 1_800_000_000_000;
  const control = async (init: RequestInit): Promise<void> => {
    const response = await fetch(`${server.url}/control/faults`, init);
    if (!response.ok) throw new Error(await response.text());
  };

  return {
    url: server.url,
    redis: new Redis({
      url: server.url,
      token: tokens.token,
      retry: false,
      enableTelemetry: false,
      automaticDeserialization: false,
    }),
    nowMs: () => nowMs,
    advance(ms: number): void {
      nowMs += ms;
    },
    fault: (fault: object) => control({ method: "POST", body: JSON.stringify(fault) }),
    clearFaults: () => control({ method: "DELETE" }),
    publisher(cell: CellId, snapshot: () => CellSnapshot): PublisherUnderTest {
      const failures: PublishFailure[] = [];
      const publisher = createHealthPublisher({
        url: server.url,
        token: tokens.token,
        macKeyHex,
        cell,
        nowMs: () => nowMs,
        snapshot,
        onFailure: (reason) => failures.push(reason),
      });
      stops.push(() => publisher.stop());
      return { ...publisher, failures };
    },
    hints(url = server.regionUrl(region), token: string = tokens.readOnlyToken): HintsUnderTest {
      const failures: string[] = [];
      const hints = createHealthHints({
        url,
        token,
        macHex: async (text) => mac(text),
        cells,
        nowMs: () => nowMs,
        onFailure: (reason) => failures.push(reason),
      });
      return {
        ...hints,
        failures,
        async refreshed() {
          const work: Promise<unknown>[] = [];
          nowMs += 2_000;
          hints.refresh((promise) => work.push(promise));
          await Promise.all(work);
        },
      };
    },
    async close(): Promise<void> {
      for (const stop of stops) stop();
      await server.close();
    },
  };
}

export type HealthHarness = Awaited<ReturnType<typeof startHealthHarness>>;
