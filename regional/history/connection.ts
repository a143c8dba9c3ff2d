import { InvariantError } from "#shared/errors/invariant.ts";
import { classifyDatabaseError } from "./database-error.ts";
import { within } from "./deadline.ts";
import type { OnHistoryLog } from "./log.ts";
import { LiveSession } from "./live-session.ts";
import type { HistoryDatabase, OpenSession } from "./session.ts";

/** Longest time from the first try to connect to the first answer; above the driver's own connect timeout of 2 s. */
const connectMsMax = 3_000;
/** Longest time for all migrations, waiting for another cell that applies them included. */
const migrateMsMax = 30_000;
/** An embedded database unpacks itself at its first start: 2–5 s on an idle machine, more on a busy one. */
const openMsMax = 60_000;
/**
 * A statement that has not settled after this, and after its caller's deadline, marks the connection as bad. A caller
 * with a short deadline must not cut off the others.
 */
const hangMsMin = 2_000;
/** Calls that wait or run; one more is answered `unavailable` rather than queued without bound. */
const callsMax = 256;
/** How often one call runs a transaction that lost against another (serialization failure, deadlock). */
const conflictTriesMax = 3;
/** Pause before the next try to connect: doubled at each failure, from `base` to `max`. */
const backoffBaseMs = 100;
const backoffMaxMs = 2_000;

type State =
  /** No session; the next call after `retryAtMs` makes one. */
  | { readonly kind: "disconnected"; readonly retryAtMs: number }
  | { readonly kind: "connecting"; readonly live: Promise<LiveSession | null> }
  | { readonly kind: "connected"; readonly live: LiveSession }
  | { readonly kind: "closed" };

/** What became of a call: its value, or nothing because the database did not answer in time. */
export type CallResult<T> = { readonly isAnswered: true; readonly value: T } | typeof unavailable;
const unavailable = { isAnswered: false } as const;

/**
 * Keeps one session and makes it anew when it breaks. Nothing runs in the background: a call after the pause connects,
 * migrates, and the calls meanwhile wait for it until their own deadlines. postgres.js alone would not do: against a
 * server that accepts and closes it reconnects hundreds of times a second and its queries never settle.
 */
export class DatabaseConnection {
  readonly #open: OpenSession;
  readonly #migrate: (db: HistoryDatabase) => Promise<void>;
  readonly #onLog: OnHistoryLog;
  readonly #clock: () => number;
  #state: State = { kind: "disconnected", retryAtMs: 0 };
  /** Failures since the last answer. */
  #failures = 0;
  #calls = 0;

  constructor(options: {
    readonly open: OpenSession;
    readonly migrate: (db: HistoryDatabase) => Promise<void>;
    readonly onLog: OnHistoryLog;
    readonly clock: () => number;
  }) {
    this.#open = options.open;
    this.#migrate = options.migrate;
    this.#onLog = options.onLog;
    this.#clock = options.clock;
  }

  /**
   * Runs `operation` and settles by `deadlineMs` at the latest. Unanswered means unknown: the operation may still have
   * happened, so it must be safe to repeat. @throws InvariantError from the operation.
   */
  async call<T>(
    deadlineMs: number,
    operation: (db: HistoryDatabase) => Promise<T>,
  ): Promise<CallResult<T>> {
    const timeoutMs = deadlineMs - this.#clock();
    if (timeoutMs <= 0 || this.#calls >= callsMax) return unavailable;
    this.#calls += 1;
    const running = this.#run(deadlineMs, operation).finally(() => {
      this.#calls -= 1;
    });
    return within(running, timeoutMs, () => unavailable);
  }

  /** Connects and migrates if that is due, without waiting for it. */
  prepare(): void {
    void this.#session();
  }

  /** Ends the session, one that is still being made included. Later calls are answered `unavailable`. */
  async close(): Promise<void> {
    const state = this.#state;
    this.#state = { kind: "closed" };
    if (state.kind === "connected") await state.live.end("gracefully");
    // It finds the state closed and ends what it made.
    if (state.kind === "connecting") await state.live;
  }

  async #run<T>(
    deadlineMs: number,
    operation: (db: HistoryDatabase) => Promise<T>,
  ): Promise<CallResult<T>> {
    const live = await this.#session();
    for (let tries = 1; live !== null && this.#clock() < deadlineMs; tries += 1) {
      const hang = live.session.isRemote ? this.#watch(live, deadlineMs) : undefined;
      try {
        const value = await live.run(operation);
        this.#failures = 0;
        return { isAnswered: true, value };
      } catch (error) {
        if (error instanceof InvariantError) throw error;
        const { kind, reason } = classifyDatabaseError(error);
        if (kind === "retryable" && tries < conflictTriesMax) continue;
        if (kind === "connection") this.#retire(live, reason);
        else this.#onLog({ event: "history_refused", reason });
        return unavailable;
      } finally {
        clearTimeout(hang);
      }
    }
    return unavailable;
  }

  #watch(live: LiveSession, deadlineMs: number): ReturnType<typeof setTimeout> {
    const hangMs = Math.max(hangMsMin, deadlineMs - this.#clock());
    const timer = setTimeout(() => this.#retire(live, "hang"), hangMs);
    return timer.unref();
  }

  async #session(): Promise<LiveSession | null> {
    const state = this.#state;
    switch (state.kind) {
      case "closed":
        return null;
      case "connected":
      case "connecting":
        return state.live;
      case "disconnected": {
        if (this.#clock() < state.retryAtMs) return null;
        const live = this.#connect();
        this.#state = { kind: "connecting", live };
        return live;
      }
    }
  }

  /** Makes a session that is migrated, or null. Never rejects. */
  async #connect(): Promise<LiveSession | null> {
    let live: LiveSession | null = null;
    try {
      live = new LiveSession(await this.#open());
      const { isRemote } = live.session;
      const answered = live.run((db) => db.execute("select 1"));
      const isProbed = await succeeds(answered, isRemote ? connectMsMax : openMsMax);
      const isReady =
        isProbed && (await succeeds(live.run(this.#migrate), isRemote ? migrateMsMax : openMsMax));
      if (isReady && this.#state.kind === "connecting") {
        this.#state = { kind: "connected", live };
        this.#onLog({ event: "history_connected", reason: isRemote ? "postgres" : "embedded" });
        return live;
      }
      this.#fail("hang");
    } catch (error) {
      this.#fail(classifyDatabaseError(error).reason);
    }
    await live?.end("now");
    return null;
  }

  /** Drops a session that is in use; what runs on it is rejected and answered `unavailable`. */
  #retire(live: LiveSession, reason: string): void {
    if (this.#state.kind !== "connected" || this.#state.live !== live) return;
    this.#fail(reason);
    void live.end("now");
  }

  /** After a failure: no session, and a pause before the next try. After `close` nothing is tried any more. */
  #fail(reason: string): void {
    if (this.#state.kind === "closed") return;
    const pauseMs = Math.min(backoffMaxMs, backoffBaseMs * 2 ** Math.min(this.#failures, 10));
    this.#failures += 1;
    this.#state = { kind: "disconnected", retryAtMs: this.#clock() + pauseMs };
    this.#onLog({ event: "history_unavailable", reason });
  }
}

/** Whether `promise` resolves in time; it rejects as the promise does. */
function succeeds(promise: Promise<unknown>, timeoutMs: number): Promise<boolean> {
  return within(
    promise.then(() => true),
    timeoutMs,
    () => false,
  );
}
