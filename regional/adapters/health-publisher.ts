import { createHmac } from "node:crypto";
import { Redis } from "@upstash/redis";
import { formatHint, hintKey, hintMacInput } from "#shared/health/hint.ts";
import type { CellHint } from "#shared/health/hint.ts";
import type { CellId } from "#shared/residency/brands.ts";

/** What the cell says of itself at the moment of publishing. */
export type CellSnapshot = Pick<CellHint, "weight" | "saturation" | "level" | "models" | "shards">;

export interface HealthPublisherOptions {
  readonly url: string;
  readonly token: string;
  readonly macKeyHex: string;
  readonly cell: CellId;
  readonly nowMs: () => number;
  readonly snapshot: () => CellSnapshot;
  /** Told of each failed write; the text of the failure is never passed on, because it holds keys and values. */
  readonly onFailure: () => void;
}

/** Publishes a cell's health. Nothing depends on it: a KV that is gone costs a counter, never a request. */
export interface HealthPublisher {
  start(): void;
  /** Something changed: published within a second. */
  notify(): void;
  stop(): void;
}

/** A change is published at most this often, and a heartbeat at least this often, ms (prices: writes count per region). */
const changeIntervalMs = 1_000;
const heartbeatIntervalMs = 30_000;
/** How long a cell's last word stays readable, seconds. */
const expirySeconds = 300;
const writeTimeoutMs = 2_000;

export function createHealthPublisher(options: HealthPublisherOptions): HealthPublisher {
  const redis = new Redis({
    url: options.url,
    token: options.token,
    retry: false,
    enableTelemetry: false,
    // A function: a static signal would turn a timeout into a made-up answer.
    signal: () => AbortSignal.timeout(writeTimeoutMs),
    automaticDeserialization: false,
  });
  const boot = options.nowMs();
  let counter = 0;
  let isWriting = false;
  let isDirty = true;
  let lastText = "";
  let lastWriteMs = 0;
  let timer: NodeJS.Timeout | null = null;

  async function tick(): Promise<void> {
    const nowMs = options.nowMs();
    const { weight, saturation, level, models, shards } = options.snapshot();
    const text = JSON.stringify({ weight, saturation, level, models, shards });
    const isHeartbeat = nowMs - lastWriteMs >= heartbeatIntervalMs;
    if (isWriting || (!isHeartbeat && !isDirty && text === lastText)) return;
    isWriting = true;
    counter += 1;
    const hint: CellHint = {
      v: 1,
      cell: options.cell,
      boot,
      counter,
      atMs: nowMs,
      weight,
      saturation,
      level,
      models,
      shards,
    };
    const payload = JSON.stringify(hint);
    const mac = createHmac("sha256", Buffer.from(options.macKeyHex, "hex"))
      .update(hintMacInput(payload))
      .digest("hex");
    try {
      await redis.set(hintKey(options.cell), formatHint(payload, mac), { ex: expirySeconds });
      lastText = text;
      lastWriteMs = nowMs;
      isDirty = false;
    } catch {
      options.onFailure();
    } finally {
      isWriting = false;
    }
  }

  return {
    start() {
      if (timer !== null) return;
      timer = setInterval(() => void tick(), changeIntervalMs);
      timer.unref();
      void tick();
    },
    notify() {
      isDirty = true;
    },
    stop() {
      if (timer !== null) clearInterval(timer);
      timer = null;
    },
  };
}
