import { DurableObject } from "cloudflare:workers";
import { emptyLedger, reserve, settle } from "#shared/budget/ledger.ts";
import type { LedgerState, Reservation } from "#shared/budget/ledger.ts";
import type { ReserveInput, ReserveResult, TenantLedgerRpc } from "#shared/budget/rpc.ts";

const schema = `
CREATE TABLE IF NOT EXISTS ledger (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS reservations (id TEXT PRIMARY KEY, reservation TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS settled (id TEXT PRIMARY KEY, at_ms INTEGER NOT NULL) WITHOUT ROWID;
`;

/** How long a settled reservation's id is remembered, so that a repeated reserve is not a second one, ms. */
const settledKeptMs = 600_000;

/**
 * The money and rate of one tenant in one jurisdiction: linearizable, so that no number of Workers together overshoots.
 * Every reply waits for its writes; a reservation that nobody settles is charged in full when it expires.
 */
export class TenantLedger extends DurableObject<Env> implements TenantLedgerRpc {
  #state: LedgerState = emptyLedger;
  readonly #open = new Map<string, Reservation>();

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    void ctx.blockConcurrencyWhile(async () => {
      const { sql } = ctx.storage;
      sql.exec(schema);
      const row = sql
        .exec<{ value: string }>("SELECT value FROM ledger WHERE key = 'state'")
        .toArray()[0];
      if (row !== undefined) this.#state = JSON.parse(row.value) as LedgerState;
      for (const { reservation } of sql.exec<{ reservation: string }>(
        "SELECT reservation FROM reservations",
      )) {
        const parsed = JSON.parse(reservation) as Reservation;
        this.#open.set(parsed.id, parsed);
      }
    });
  }

  #write(state: LedgerState): void {
    this.ctx.storage.sql.exec(
      "INSERT OR REPLACE INTO ledger (key, value) VALUES ('state', ?)",
      JSON.stringify(state),
    );
    this.#state = state;
  }

  /** Closes a reservation with what it cost; its id is remembered for a while. */
  #close(
    reservation: Reservation,
    used: { tokens: number; costMicroUsd: number },
    nowMs: number,
  ): void {
    const { sql } = this.ctx.storage;
    this.#write(settle(this.#state, reservation, used, nowMs));
    sql.exec("DELETE FROM reservations WHERE id = ?", reservation.id);
    sql.exec("INSERT OR REPLACE INTO settled (id, at_ms) VALUES (?, ?)", reservation.id, nowMs);
    this.#open.delete(reservation.id);
  }

  /** What nobody settled in time is charged as reserved: the caller died, and the work may have been done. */
  #expire(nowMs: number): void {
    for (const reservation of this.#open.values()) {
      if (reservation.expiresAtMs <= nowMs) this.#close(reservation, reservation, nowMs);
    }
  }

  async reserve(input: ReserveInput): Promise<ReserveResult> {
    const nowMs = Date.now();
    return this.ctx.storage.transactionSync(() => {
      this.#expire(nowMs);
      const isRepeat =
        this.#open.has(input.reservationId) ||
        this.ctx.storage.sql
          .exec("SELECT 1 FROM settled WHERE id = ?", input.reservationId)
          .toArray().length > 0;
      if (isRepeat) return { kind: "reserved", states: [] };
      const { state, reservation, result } = reserve(
        this.#state,
        [...this.#open.values()],
        input,
        nowMs,
      );
      if (reservation !== null) {
        this.#write(state);
        this.ctx.storage.sql.exec(
          "INSERT INTO reservations (id, reservation) VALUES (?, ?)",
          reservation.id,
          JSON.stringify(reservation),
        );
        this.#open.set(reservation.id, reservation);
      }
      return result;
    });
  }

  async settle(
    input: Parameters<TenantLedgerRpc["settle"]>[0],
  ): Promise<{ kind: "settled" | "unknown" }> {
    const nowMs = Date.now();
    return this.ctx.storage.transactionSync((): { kind: "settled" | "unknown" } => {
      const reservation = this.#open.get(input.reservationId);
      if (reservation === undefined) return { kind: "unknown" };
      this.#close(reservation, input, nowMs);
      this.ctx.storage.sql.exec("DELETE FROM settled WHERE at_ms < ?", nowMs - settledKeptMs);
      return { kind: "settled" };
    });
  }
}
