/** The platform around a serverless engine: takes it down when nobody asks, starts it when somebody does. */

/** What the platform does with a request that meets no running engine: 503 with Retry-After, or it waits for the start. */
export type WhileCold = "refuse" | "hold";

export interface PlatformOptions {
  /** Idle time after which the engine is taken down, ms; 0: never. */
  readonly scaleToZeroMs: number;
  readonly coldStartMs: number;
  readonly whileCold: WhileCold;
  readonly nowMs: () => number;
  /** The engine was taken down: what it had in memory is gone. */
  readonly onDown: () => void;
}

/** Whether a request meets a running engine, or how long its start will still take. */
export type Arrival =
  | { readonly kind: "up" }
  | { readonly kind: "starting"; readonly remainingMs: number };

/** What `GET /control/platform` tells. */
export interface PlatformState {
  readonly state: "up" | "starting" | "down";
  /** Cold starts so far, the first included. */
  readonly starts: number;
}

export interface Platform {
  /** A request comes; it starts an engine that is down, and counts as running until `leave`. */
  arrive(): Arrival;
  /** It has ended. */
  leave(): void;
  /** Takes the engine down now; the next request starts it, in `coldStartMs` if that is given. */
  takeDown(coldStartMs?: number): void;
  /** Not ready for so long, whoever asks; 0 makes it ready at once. */
  unreadyFor(durationMs: number): void;
  state(): PlatformState;
}

/** A platform whose engine is starting, as after a deployment; one that scales to zero begins with none. */
export function createPlatform(options: PlatformOptions): Platform {
  const { nowMs, onDown, scaleToZeroMs } = options;
  let coldStartMs = options.coldStartMs;
  /** Null while the engine is down. */
  let readyAtMs: number | null = scaleToZeroMs > 0 ? null : nowMs() + coldStartMs;
  let activeAtMs = nowMs();
  let running = 0;
  let starts = readyAtMs === null ? 0 : 1;

  function takeDown(): void {
    if (readyAtMs === null) return;
    readyAtMs = null;
    onDown();
  }

  function settle(): void {
    if (scaleToZeroMs === 0 || running > 0 || readyAtMs === null) return;
    if (nowMs() - Math.max(activeAtMs, readyAtMs) >= scaleToZeroMs) takeDown();
  }

  return {
    arrive() {
      settle();
      running += 1;
      activeAtMs = nowMs();
      if (readyAtMs === null) {
        readyAtMs = nowMs() + coldStartMs;
        starts += 1;
      }
      const remainingMs = readyAtMs - nowMs();
      return remainingMs > 0 ? { kind: "starting", remainingMs } : { kind: "up" };
    },
    leave() {
      running -= 1;
      activeAtMs = nowMs();
    },
    takeDown(nextStartMs) {
      if (nextStartMs !== undefined) coldStartMs = nextStartMs;
      takeDown();
    },
    unreadyFor(durationMs) {
      readyAtMs = nowMs() + durationMs;
      if (durationMs > 0) onDown();
    },
    state() {
      settle();
      if (readyAtMs === null) return { state: "down", starts };
      return { state: readyAtMs > nowMs() ? "starting" : "up", starts };
    },
  };
}
