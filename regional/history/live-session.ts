import type { DatabaseSession, HistoryDatabase } from "./session.ts";

/** Rejects what ran on a session that was ended. */
class SessionEndedError extends Error {
  override readonly name = "SessionEndedError";
  readonly code = "SESSION_ENDED";
}

/** A session in use. Its end rejects what runs on it, because the driver alone may leave a statement unsettled. */
export class LiveSession {
  readonly session: DatabaseSession;
  readonly #interrupts = new Set<() => void>();

  constructor(session: DatabaseSession) {
    this.session = session;
  }

  /** Runs `operation` until it settles or the session ends, whichever is first. */
  run<T>(operation: (db: HistoryDatabase) => Promise<T>): Promise<T> {
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    const interrupt = (): void => reject(new SessionEndedError());
    this.#interrupts.add(interrupt);
    void operation(this.session.db)
      .then(resolve, (error: unknown) => reject(error))
      .finally(() => this.#interrupts.delete(interrupt));
    return promise;
  }

  /** Never rejects: a session that cannot be ended is left behind. */
  async end(how: "now" | "gracefully"): Promise<void> {
    const ended = this.session.end(how).catch(() => undefined);
    if (how === "gracefully") await ended;
    for (const interrupt of this.#interrupts) interrupt();
    await ended;
  }
}
