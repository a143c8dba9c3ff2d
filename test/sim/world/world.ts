import type { CellId, Jurisdiction, ShardId, TenantId } from "#shared/residency/brands.ts";
import { Conversations } from "../checkers/conversations.ts";
import { Generations } from "../checkers/generations.ts";
import { Recorder } from "../checkers/recorder.ts";
import { Faults } from "../faults/faults.ts";
import type { Profile } from "../faults/profiles.ts";
import type { Kernel } from "../kernel.ts";
import type { Mutant } from "../mutants/mutant.ts";
import { Process } from "../process.ts";
import type { ClockError } from "../process.ts";
import { callObject } from "./calls.ts";
import { CellNode } from "./cell.ts";
import { Database } from "./database.ts";
import { cellPlans, randomPart, tenants, zones } from "./ids.ts";
import { LedgerNode } from "./ledger.ts";
import { productMachines } from "./machines.ts";
import type { Machines } from "./machines.ts";
import { Network } from "./network.ts";
import { ObjectNode } from "./object-node.ts";
import { Shard } from "./shard.ts";

const workersPerZone = 2;

/** Everything that one run simulates, and who watches it. */
export class World {
  readonly kernel: Kernel;
  readonly faults: Faults;
  readonly recorder: Recorder;
  readonly network: Network;
  readonly machines: Machines;
  /** Seeded bugs of the simulated shells; empty but for mutants. */
  readonly quirks: ReadonlySet<string>;
  readonly generations: Generations;
  readonly conversations: Conversations;
  readonly databases = new Map<string, Database>();
  readonly cells = new Map<CellId, CellNode>();
  readonly shards = new Map<ShardId, Shard>();
  readonly ledgers = new Map<string, LedgerNode>();
  readonly objects = new Map<string, ObjectNode>();
  readonly workers = new Map<string, Process>();
  readonly #clocks = new Map<string, ClockError>();
  readonly #expired = new Set<string>();
  #number = 0;

  constructor(kernel: Kernel, profile: Profile, mutant: Mutant | null) {
    this.kernel = kernel;
    this.faults = new Faults(kernel, profile);
    this.recorder = new Recorder(kernel);
    this.network = new Network(kernel, this.faults, this.recorder);
    this.machines = { ...productMachines, ...mutant?.machines };
    this.quirks = new Set(mutant?.quirks ?? []);
    this.generations = new Generations(this.recorder);
    this.conversations = new Conversations(this);
    for (const plan of cellPlans) {
      if (!this.databases.has(plan.region)) {
        this.databases.set(plan.region, new Database(this, plan.region, plan.zone));
      }
      for (const id of plan.shards) this.shards.set(id, new Shard(this, id, plan.zone));
      this.cells.set(plan.id, new CellNode(this, plan));
    }
    for (const zone of zones) {
      for (const tenant of tenants) {
        const ledger = new LedgerNode(this, zone, tenant);
        this.ledgers.set(ledger.name, ledger);
      }
      for (let number = 0; number < workersPerZone; number += 1)
        this.startWorker(`worker:${zone}:${number}`, zone);
    }
  }

  /** The clock that a node has for the whole run. */
  readonly clockOf = (name: string): ClockError => {
    let clock = this.#clocks.get(name);
    if (clock === undefined) {
      const random = this.kernel.random("clocks");
      const isFar = this.faults.has("clock.skew") && random.chance(0.4);
      if (isFar) this.faults.fires("clock.skew");
      const range = isFar ? 300_000 : 500;
      clock = { skewMs: (random.unit() * 2 - 1) * range, drift: (random.unit() - 0.5) * 2e-4 };
      this.#clocks.set(name, clock);
    }
    return clock;
  };

  nextNumber(): number {
    this.#number += 1;
    return this.#number;
  }

  startWorker(name: string, zone: string): void {
    this.workers.set(name, new Process(this.kernel, name, zone, this.clockOf(name)));
  }

  /** A Worker that some request of the zone reaches. */
  workerOf(zone: string): Process {
    const found = [...this.workers.values()].filter((worker) => worker.zone === zone);
    return this.kernel.random("edge").pick(found);
  }

  ledgerOf(zone: string, tenant: string): LedgerNode {
    const ledger = this.ledgers.get(`ledger:${zone}:${tenant}`);
    if (ledger === undefined) throw new Error(`no ledger of ${tenant} in ${zone}`);
    return ledger;
  }

  createObject(zone: Jurisdiction, tenant: TenantId): ObjectNode {
    const random = randomPart("c", this.nextNumber(), 16);
    const node = new ObjectNode(this, zone, tenant, random);
    this.objects.set(random, node);
    return node;
  }

  /** What a Worker does for `POST /v1/responses/{id}/cancel`. */
  async cancel(worker: Process, object: ObjectNode, turnRandom: string): Promise<void> {
    await callObject(this, worker, {
      name: object.name,
      zone: object.zone,
      kind: "cancelTurn",
      open: () => object.open(),
      content: () => "",
      handle: async () => {
        await object.instance?.cancel({ scope: object.scope("cancel"), turnRandom });
        return true;
      },
    });
  }

  /** The end of the run's time: reservations that nobody settled expire. */
  expireReservations(): void {
    for (const ledger of this.ledgers.values()) {
      for (const id of ledger.open.keys()) this.#expired.add(id);
      ledger.expireAll();
    }
  }

  hasExpired(reservationId: string | null): boolean {
    return reservationId !== null && this.#expired.has(reservationId);
  }
}
