import { emptyScopes } from "#shared/budget/ledger.ts";
import type { LedgerScopes, Reservation } from "#shared/budget/ledger.ts";
import type { ReserveInput, ReserveResult, SettleInput } from "#shared/budget/rpc.ts";
import { Process } from "../process.ts";
import type { World } from "./world.ts";

interface LedgerStore {
  readonly scopes: LedgerScopes;
  readonly open: ReadonlyMap<string, Reservation>;
  readonly settled: ReadonlySet<string>;
}

/** What the tenant was charged for, as a recorder sees it. */
interface Charge {
  readonly id: string;
  readonly tokens: number;
}

function tokensOf(used: SettleInput["used"], reservation: Reservation | null): number {
  return used === "unknown" ? (reservation?.tokens ?? 0) : used.tokens;
}

/** One tenant's TenantLedger object: the shell of edge/objects/tenant-ledger.ts with commits behind an output gate. */
export class LedgerNode {
  readonly name: string;
  readonly #world: World;
  readonly #zone: string;
  #durable: LedgerStore = { scopes: emptyScopes, open: new Map(), settled: new Set() };
  #store: LedgerStore = this.#durable;
  readonly charges: Charge[] = [];
  process: Process;

  constructor(world: World, zone: string, tenant: string) {
    this.#world = world;
    this.#zone = zone;
    this.name = `ledger:${zone}:${tenant}`;
    this.process = new Process(world.kernel, this.name, zone, world.clockOf(this.name));
  }

  get open(): ReadonlyMap<string, Reservation> {
    return this.#durable.open;
  }

  crash(): void {
    const { kernel, clockOf } = this.#world;
    this.process.kill();
    this.#store = this.#durable;
    this.process = new Process(kernel, this.name, this.#zone, clockOf(this.name));
  }

  async #commit(store: LedgerStore, charge: Charge | null): Promise<void> {
    this.#store = store;
    const { process } = this;
    await this.#world.kernel.sleep(1, process, "flush");
    this.#durable = store;
    if (charge !== null) this.charges.push(charge);
  }

  #close(store: LedgerStore, reservation: Reservation, used: SettleInput["used"]): LedgerStore {
    const open = new Map(store.open);
    open.delete(reservation.id);
    return {
      scopes: this.#world.machines.settle(store.scopes, reservation, used, this.process.now()),
      open,
      settled: new Set([...store.settled, reservation.id]),
    };
  }

  async reserve(input: ReserveInput): Promise<ReserveResult> {
    const store = this.#store;
    const { machines, recorder } = this.#world;
    if (store.open.has(input.reservationId) || store.settled.has(input.reservationId)) {
      recorder.sometimes("a reservation was repeated");
      await this.#commit(store, null);
      return { kind: "reserved", isHeld: true, states: [] };
    }
    const random = this.#world.kernel.random("ledger");
    const { scopes, reservation, result } = machines.reserve(
      store.scopes,
      input,
      this.process.now(),
      () => random.unit(),
    );
    if (reservation !== null) {
      const next = new Map(store.open).set(reservation.id, reservation);
      await this.#commit({ ...store, scopes, open: next }, null);
    }
    return result;
  }

  async settle(
    input: Pick<SettleInput, "reservationId" | "used">,
  ): Promise<{ readonly kind: "settled" | "unknown" }> {
    const reservation = this.#store.open.get(input.reservationId);
    if (reservation === undefined) {
      if (!this.#world.quirks.has("settlesTwice")) return { kind: "unknown" };
      this.charges.push({ id: input.reservationId, tokens: tokensOf(input.used, null) });
      return { kind: "settled" };
    }
    const { reservationId: id, used } = input;
    const tokens = tokensOf(used, reservation);
    await this.#commit(this.#close(this.#store, reservation, used), { id, tokens });
    return { kind: "settled" };
  }

  /** What the alarm of time does: reservations that nobody settled are charged in full. */
  expireAll(): void {
    for (const reservation of this.#store.open.values()) {
      this.#store = this.#close(this.#store, reservation, "unknown");
      this.charges.push({ id: reservation.id, tokens: reservation.tokens });
    }
    this.#durable = this.#store;
  }
}
