import { emptyLedger } from "#shared/budget/ledger.ts";
import type { LedgerState, Reservation } from "#shared/budget/ledger.ts";
import type { ReserveInput, ReserveResult } from "#shared/budget/rpc.ts";
import { Process } from "../process.ts";
import type { World } from "./world.ts";

interface LedgerStore {
  readonly state: LedgerState;
  readonly open: ReadonlyMap<string, Reservation>;
  readonly settled: ReadonlySet<string>;
}

/** What the tenant was charged for, as a recorder sees it. */
interface Charge {
  readonly id: string;
  readonly tokens: number;
}

/** One tenant's TenantLedger object: the shell of edge/objects/tenant-ledger.ts with commits behind an output gate. */
export class LedgerNode {
  readonly name: string;
  readonly #world: World;
  readonly #zone: string;
  #durable: LedgerStore = { state: emptyLedger, open: new Map(), settled: new Set() };
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

  #close(
    store: LedgerStore,
    reservation: Reservation,
    used: { readonly tokens: number; readonly costMicroUsd: number },
  ): LedgerStore {
    const open = new Map(store.open);
    open.delete(reservation.id);
    return {
      state: this.#world.machines.settle(store.state, reservation, used, this.process.now()),
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
      return { kind: "reserved", states: [] };
    }
    const open = [...store.open.values()];
    const { state, reservation, result } = machines.reserve(
      store.state,
      open,
      input,
      this.process.now(),
    );
    if (reservation !== null) {
      const next = new Map(store.open).set(reservation.id, reservation);
      await this.#commit({ ...store, state, open: next }, null);
    }
    return result;
  }

  async settle(input: {
    readonly reservationId: string;
    readonly tokens: number;
    readonly costMicroUsd: number;
  }): Promise<{ readonly kind: "settled" | "unknown" }> {
    const reservation = this.#store.open.get(input.reservationId);
    if (reservation === undefined) {
      if (!this.#world.quirks.has("settlesTwice")) return { kind: "unknown" };
      this.charges.push({ id: input.reservationId, tokens: input.tokens });
      return { kind: "settled" };
    }
    const { reservationId: id, tokens } = input;
    await this.#commit(this.#close(this.#store, reservation, input), { id, tokens });
    return { kind: "settled" };
  }

  /** What the alarm of time does: reservations that nobody settled are charged in full. */
  expireAll(): void {
    for (const reservation of this.#store.open.values()) {
      this.#store = this.#close(this.#store, reservation, reservation);
      this.charges.push({ id: reservation.id, tokens: reservation.tokens });
    }
    this.#durable = this.#store;
  }
}
