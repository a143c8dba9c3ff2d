/** What is done with a shard's engine. `ending`: it runs until its cell says that nothing runs on it, or for as long as that may take. */
export type ScaledEngine = "running" | "starting" | "ending" | "stopped";

/** Engines that a scaler starts and ends. */
export interface ScaledEngines {
  states(): readonly { readonly shard: string; readonly state: ScaledEngine }[];
  /** Idempotent, and answered at once: a start or an end goes on by itself. False for a shard that has no engine here. */
  set(shard: string, isRunning: boolean): boolean;
  /** The cell has nothing there any more: an engine that is to end ends. False for a shard that has no engine here. */
  left(shard: string): boolean;
}

export interface ScaledEnginesOptions {
  /** Shards with an engine; they run at first. */
  readonly shards: () => readonly string[];
  /** Resolves when it serves. */
  readonly start: (shard: string) => Promise<void>;
  /** Resolves when it is gone. */
  readonly stop: (shard: string) => Promise<void>;
  readonly onFailure: (shard: string, error: unknown) => void;
  /** Calls `run` after `delayMs`; returns the cancel. */
  readonly after: (delayMs: number, run: () => void) => () => void;
}

/** A cell that is gone says nothing: its shard's engine is ended after this, ms. Longer than a cell lets turns stay (60 s). */
const leaveMsMax = 90_000;

interface Engine {
  state: ScaledEngine;
  /** Starts and ends one after the other. */
  done: Promise<void>;
  cancelEnd: () => void;
}

/** The engines of one deployment, each in its own order. */
export function createScaledEngines(options: ScaledEnginesOptions): ScaledEngines {
  const engines = new Map<string, Engine>();

  function engineOf(shard: string): Engine | null {
    if (!options.shards().includes(shard)) return null;
    const engine = engines.get(shard) ?? {
      state: "running",
      done: Promise.resolve(),
      cancelEnd: () => {},
    };
    engines.set(shard, engine);
    return engine;
  }

  function end(shard: string, engine: Engine): void {
    engine.cancelEnd();
    engine.state = "stopped";
    engine.done = engine.done
      .then(() => options.stop(shard))
      .catch((error: unknown) => options.onFailure(shard, error));
  }

  function begin(shard: string, engine: Engine): void {
    engine.state = "starting";
    engine.done = engine.done
      .then(() => options.start(shard))
      .then(
        () => {
          if (engine.state === "starting") engine.state = "running";
        },
        (error: unknown) => {
          if (engine.state === "starting") engine.state = "stopped";
          options.onFailure(shard, error);
        },
      );
  }

  return {
    states: () =>
      options.shards().map((shard) => ({ shard, state: engines.get(shard)?.state ?? "running" })),
    set(shard, isRunning) {
      const engine = engineOf(shard);
      if (engine === null) return false;
      const { state } = engine;
      if (isRunning) {
        if (state === "stopped") begin(shard, engine);
        if (state === "ending") {
          engine.cancelEnd();
          engine.state = "running";
        }
      } else if (state === "starting") end(shard, engine);
      else if (state === "running") {
        engine.state = "ending";
        engine.cancelEnd = options.after(leaveMsMax, () => end(shard, engine));
      }
      return true;
    },
    left(shard) {
      const engine = engineOf(shard);
      if (engine?.state === "ending") end(shard, engine);
      return engine !== null;
    },
  };
}
