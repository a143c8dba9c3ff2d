import { createHmac } from "node:crypto";
import { Redis } from "@upstash/redis";
import { encodeHint } from "#shared/health/hint-codec.ts";
import { hintKey } from "#shared/health/hint.ts";
import type { CellHint } from "#shared/health/hint.ts";
import type { CellId } from "#shared/residency/brands.ts";

/** What the cell says of itself at the moment of publishing. */
export type CellSnapshot = Pick<CellHint, "weight" | "saturation" | "level" | "models" | "shards">;

/** Why a hint was not written: the KV did not take it, or it held what a hint may not hold, or there was none. */
export type PublishFailure = "unreachable" | "invalid" | "snapshot";

export interface HealthPublisherOptions {
  readonly url: string;
  readonly token: string;
  readonly macKeyHex: string;
  readonly cell: CellId;
  readonly nowMs: () => number;
  readonly snapshot: () => CellSnapshot;
  /** Told of each hint that was not written; the failure's text is never passed on, because it holds keys and values. */
  readonly onFailure: (reason: PublishFailure) => void;
}

/** Publishes a cell's health. Nothing depends on it: a KV that is gone costs a counter, never a request. */
export interface HealthPublisher {
  /** Publishes now, then on change and as a heartbeat; a second start does nothing. */
  start(): void;
  /** Something changed: published at once, or as soon as a second has passed since the last write began. */
  notify(): void;
  /** Writes nothing more; a write under way ends by itself within its timeout. */
  stop(): void;
}

/** A change is published at most this often and otherwise this often, ms: each write costs once per region of the KV. */
const changeIntervalMs = 1_000;
const heartbeatIntervalMs = 30_000;
/** How often the publisher looks whether there is something to write, ms. */
const lookIntervalMs = 250;
/** How long a cell's last word can be read, seconds. Readers stop to believe it after 120. */
const expirySeconds = 300;
const writeTimeoutMs = 2_000;

/** The publisher of one cell. Its timer never keeps the process alive. */
export function createHealthPublisher(options: HealthPublisherOptions): HealthPublisher {
  const { cell, nowMs, onFailure, snapshot } = options;
  const macKey = Buffer.from(options.macKeyHex, "hex");
  const redis = new Redis({
    url: options.url,
    token: options.token,
    // `false` would still try twice: the client counts tries from 0 (@upstash/redis 1.39.0).
    retry: { retries: 0, backoff: () => 0 },
    enableTelemetry: false,
    enableAutoPipelining: false,
    readYourWrites: false,
    automaticDeserialization: false,
    // A function: a static signal would turn a timeout into a made-up answer.
    signal: () => AbortSignal.timeout(writeTimeoutMs),
  });
  const boot = nowMs();
  let counter = 0;
  let isWriting = false;
  let written = "";
  let begunAtMs = Number.NEGATIVE_INFINITY;
  let writtenAtMs = Number.NEGATIVE_INFINITY;
  let stopTimer: (() => void) | null = null;

  async function write(parts: CellSnapshot, now: number): Promise<PublishFailure | null> {
    counter += 1;
    const hint: CellHint = { v: 2, cell, boot, counter, atMs: now, ...parts };
    const mac = (text: string): string => createHmac("sha256", macKey).update(text).digest("hex");
    const value = await encodeHint(hint, mac);
    if (value === null) return "invalid";
    await redis.set(hintKey(cell), value, { ex: expirySeconds });
    return null;
  }

  async function publish(parts: CellSnapshot, text: string, now: number): Promise<void> {
    isWriting = true;
    begunAtMs = now;
    let failure: PublishFailure | null;
    try {
      failure = await write(parts, now);
    } catch {
      failure = "unreachable";
    }
    isWriting = false;
    if (failure === null) {
      written = text;
      writtenAtMs = now;
    } else onFailure(failure);
  }

  function tick(): void {
    const now = nowMs();
    if (stopTimer === null || isWriting || now - begunAtMs < changeIntervalMs) return;
    let parts: CellSnapshot;
    try {
      const { weight, saturation, level, models, shards } = snapshot();
      parts = { weight, saturation, level, models, shards };
    } catch {
      // A timer's exception would end the cell for the sake of a hint.
      onFailure("snapshot");
      return;
    }
    const text = JSON.stringify(parts);
    if (text === written && now - writtenAtMs < heartbeatIntervalMs) return;
    void publish(parts, text, now);
  }

  return {
    start() {
      if (stopTimer !== null) return;
      const timer = setInterval(tick, lookIntervalMs);
      timer.unref();
      stopTimer = () => clearInterval(timer);
      tick();
    },
    notify: tick,
    stop() {
      stopTimer?.();
      stopTimer = null;
    },
  };
}
