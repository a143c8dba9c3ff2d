import { DurableObject } from "cloudflare:workers";
import { bucketToWrite, isHeldUnder, reserve, settle } from "#shared/budget/ledger.ts";
import type { Reservation } from "#shared/budget/ledger.ts";
import { emptyScope } from "#shared/budget/scope.ts";
import type { ScopeState } from "#shared/budget/scope.ts";
import { parseReservation, parseScope, scopeOfV1 } from "#shared/budget/stored-ledger.ts";
import type {
  ReserveInput,
  ReserveResult,
  SettleInput,
  TenantLedgerRpc,
} from "#shared/budget/rpc.ts";

const schema = `
CREATE TABLE IF NOT EXISTS scopes (id TEXT PRIMARY KEY, state TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS reservations (id TEXT PRIMARY KEY, reservation TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS settled (id TEXT PRIMARY KEY, at_ms INTEGER NOT NULL) WITHOUT ROWID;
`;

/** How long a settled reservation's id is remembered, so that a repeated call reserves nothing, ms; repeats are seconds old. */
const settledKeptMs = 120_000;
/** Time between two looks for ids that were remembered long enough, ms: the look reads the whole table. */
const purgeEveryMs = 60_000;
/** Least time between two alarms, ms. */
const alarmEveryMs = 1_000;

const tenantScope = "tenant";
const keyScope = (keyId: string): string => `key:${keyId}`;

/**
 * The money and rate of one tenant and of its keys in one jurisdiction: linearizable, so that no number of Workers
 * together overshoots. Every reply waits for its writes; what nobody settles is charged in full when it expires, by the
 * alarm or by the next call.
 */
export class TenantLedger extends DurableObject<Env> implements TenantLedgerRpc {
  readonly #scopes = new Map<string, ScopeState>();
  /** What is durable of scopes whose row lies ahead of them; others are as their row. */
  readonly #durable = new Map<string, ScopeState>();
  readonly #open = new Map<string, Reservation>();
  /** No open reservation expires before; Infinity without one. */
  #dueMs = Infinity;
  #alarmAtMs: number | null = null;
  #purgedAtMs = 0;

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    void ctx.blockConcurrencyWhile(async () => {
      this.#load();
      this.#alarmAtMs = await ctx.storage.getAlarm();
    });
  }

  #load(): void {
    const { sql } = this.ctx.storage;
    sql.exec(schema);
    for (const { id, state } of sql.exec<{ id: string; state: string }>(
      "SELECT id, state FROM scopes",
    )) {
      this.#scopes.set(id, parseScope(state));
    }
    for (const { reservation } of sql.exec<{ reservation: string }>(
      "SELECT reservation FROM reservations",
    )) {
      const parsed = parseReservation(reservation);
      this.#open.set(parsed.id, parsed);
    }
    this.#findDue();
    const hasV1 =
      sql.exec("SELECT 1 FROM sqlite_master WHERE name = 'ledger'").toArray().length > 0;
    if (!hasV1 || this.#scopes.size > 0) return;
    const v1 = sql
      .exec<{ value: string }>("SELECT value FROM ledger WHERE key = 'state'")
      .toArray()[0];
    if (v1 === undefined) return;
    this.#writeScope(tenantScope, scopeOfV1(v1.value, [...this.#open.values()], Date.now()));
  }

  #scope(id: string): ScopeState {
    return this.#scopes.get(id) ?? emptyScope;
  }

  #writeScope(id: string, state: ScopeState, durable: ScopeState = state): void {
    this.ctx.storage.sql.exec(
      "INSERT OR REPLACE INTO scopes (id, state) VALUES (?, ?)",
      id,
      JSON.stringify(durable),
    );
    this.#scopes.set(id, state);
    this.#durable.set(id, durable);
  }

  /** Closes a reservation with what it cost; its id is remembered for a while. */
  #close(reservation: Reservation, used: SettleInput["used"], nowMs: number): void {
    const { sql } = this.ctx.storage;
    const key = keyScope(reservation.keyId);
    const scopes = { tenant: this.#scope(tenantScope), key: this.#scope(key) };
    const next = settle(scopes, reservation, used, nowMs);
    this.#writeScope(tenantScope, next.tenant);
    this.#writeScope(key, next.key);
    sql.exec("DELETE FROM reservations WHERE id = ?", reservation.id);
    sql.exec("INSERT OR REPLACE INTO settled (id, at_ms) VALUES (?, ?)", reservation.id, nowMs);
    this.#open.delete(reservation.id);
  }

  /** What nobody settled in time is charged as reserved: the caller died, and the work may have been done. */
  #expire(nowMs: number): void {
    for (const reservation of this.#open.values()) {
      if (reservation.expiresAtMs <= nowMs) this.#close(reservation, "unknown", nowMs);
    }
    this.#findDue();
  }

  #purge(nowMs: number): void {
    if (Math.abs(nowMs - this.#purgedAtMs) < purgeEveryMs) return;
    this.#purgedAtMs = nowMs;
    this.ctx.storage.sql.exec("DELETE FROM settled WHERE at_ms < ?", nowMs - settledKeptMs);
  }

  #findDue(): void {
    this.#dueMs = Infinity;
    for (const { expiresAtMs } of this.#open.values()) {
      this.#dueMs = Math.min(this.#dueMs, expiresAtMs);
    }
  }

  /** Has the alarm ring when the first open reservation expires; one that rings too early does no harm. */
  #setAlarm(atMs: number): void {
    if (this.#alarmAtMs !== null && this.#alarmAtMs <= atMs) return;
    this.#alarmAtMs = atMs;
    void this.ctx.storage.setAlarm(atMs);
  }

  /** A request under a rate alone: mostly no row is written, since the durable bucket lies ahead. */
  #writeAhead(id: string, state: ScopeState, limits: ReserveInput["limits"]["key"], nowMs: number) {
    const durable = this.#durable.get(id) ?? this.#scope(id);
    const row = bucketToWrite(durable, state, limits, nowMs);
    if (row === null) this.#scopes.set(id, state);
    else this.#writeScope(id, state, row);
  }

  async reserve(input: ReserveInput): Promise<ReserveResult> {
    const nowMs = Date.now();
    return this.ctx.storage.transactionSync(() => {
      const { sql } = this.ctx.storage;
      const { reservationId, limits } = input;
      const key = keyScope(input.keyId);
      if (nowMs >= this.#dueMs) this.#expire(nowMs);
      const isRepeat =
        isHeldUnder(limits) &&
        (this.#open.has(reservationId) ||
          sql.exec("SELECT 1 FROM settled WHERE id = ?", reservationId).toArray().length > 0);
      if (isRepeat) return { kind: "reserved", isHeld: true, states: [] };
      const held = { tenant: this.#scope(tenantScope), key: this.#scope(key) };
      const { scopes, reservation, result } = reserve(held, input, nowMs, Math.random);
      if (result.kind === "refused") return result;
      if (reservation === null) {
        this.#writeAhead(tenantScope, scopes.tenant, limits.tenant, nowMs);
        this.#writeAhead(key, scopes.key, limits.key, nowMs);
        return result;
      }
      this.#writeScope(tenantScope, scopes.tenant);
      this.#writeScope(key, scopes.key);
      sql.exec(
        "INSERT INTO reservations (id, reservation) VALUES (?, ?)",
        reservation.id,
        JSON.stringify(reservation),
      );
      this.#open.set(reservation.id, reservation);
      this.#dueMs = Math.min(this.#dueMs, reservation.expiresAtMs);
      this.#setAlarm(this.#dueMs);
      return result;
    });
  }

  async settle(input: SettleInput): Promise<{ kind: "settled" | "unknown" }> {
    const nowMs = Date.now();
    return this.ctx.storage.transactionSync((): { kind: "settled" | "unknown" } => {
      const reservation = this.#open.get(input.reservationId);
      if (reservation === undefined) return { kind: "unknown" };
      this.#close(reservation, input.used, nowMs);
      this.#purge(nowMs);
      return { kind: "settled" };
    });
  }

  /** The watchdog of reservations whose Worker and object are gone. May ring twice, early or late. */
  override async alarm(): Promise<void> {
    const nowMs = Date.now();
    this.#alarmAtMs = null;
    this.ctx.storage.transactionSync(() => {
      this.#expire(nowMs);
      this.#purge(nowMs);
    });
    if (this.#open.size > 0) this.#setAlarm(Math.max(this.#dueMs, nowMs + alarmEveryMs));
  }
}
