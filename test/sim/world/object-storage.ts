import type { StepContext } from "#shared/conversation/step.ts";
import type { ConversationPolicy } from "#shared/conversation/policy.ts";
import type { Process } from "../process.ts";
import { SimStore } from "./sim-store.ts";
import type { World } from "./world.ts";

/** Thrown where the platform would refuse an instance that is no longer the object's. */
export class NoLongerCurrent extends Error {}

/** What an instance's storage needs of its object. */
export interface StorageOwner {
  readonly durable: SimStore;
  isCurrent(process: Process): boolean;
  /** The storage failed: the instance is reset. */
  reset(process: Process): void;
  /** A transaction is durable. */
  committed(store: SimStore): void;
}

/**
 * One instance's view of its object's SQLite: a transaction per step, durable a little later and in order; the output gate
 * holds every reply and every call until what was written before is durable.
 */
export class ObjectStorage {
  readonly store: SimStore;
  readonly #world: World;
  readonly #process: Process;
  readonly #owner: StorageOwner;
  readonly #policy: ConversationPolicy;
  #committedVersion: number;
  #durableVersion: number;
  #dueMs = 0;
  #waiters: { readonly version: number; readonly resolve: () => void }[] = [];

  constructor(world: World, process: Process, owner: StorageOwner, policy: ConversationPolicy) {
    this.#world = world;
    this.#process = process;
    this.#owner = owner;
    this.#policy = policy;
    this.store = owner.durable.copy();
    this.#committedVersion = this.store.version;
    this.#durableVersion = this.store.version;
  }

  context(): StepContext {
    return { store: this.store, nowMs: this.#process.now(), policy: this.#policy };
  }

  /** Runs one step in one transaction. A zombie may read what it knew; a write of it fails. */
  step<Result>(run: (context: StepContext) => Result): Result {
    const result = this.stepOpen(run);
    this.commit();
    return result;
  }

  /** A step whose transaction takes in what is written until `commit()`: the platform writes both at once. */
  stepOpen<Result>(run: (context: StepContext) => Result): Result {
    const isCurrent = this.#owner.isCurrent(this.#process);
    const before = isCurrent ? null : this.store.copy();
    let result: Result;
    try {
      result = run(this.context());
    } catch (error) {
      if (error instanceof NoLongerCurrent) throw error;
      this.#world.recorder.violate("machine", `a step threw: ${String(error)}`);
      throw error;
    }
    if (before !== null && this.store.version !== before.version) {
      this.store.take(before);
      throw new NoLongerCurrent();
    }
    return result;
  }

  /** Hands what was written to the storage. */
  commit(): void {
    const { version } = this.store;
    if (version === this.#committedVersion) return;
    this.#committedVersion = version;
    const { kernel, faults } = this.#world;
    const snapshot = this.store.copy();
    const delayMs = faults.fires("object.slowStorage")
      ? 3_000
      : 0.5 + kernel.random("storage").unit() * 2;
    this.#dueMs = Math.max(this.#dueMs + 0.01, kernel.nowMs + delayMs);
    kernel.at(this.#dueMs - kernel.nowMs, this.#process, "object.flush", () => {
      if (!this.#owner.isCurrent(this.#process)) return;
      if (faults.fires("object.storageFails")) return this.#owner.reset(this.#process);
      this.#durableVersion = version;
      this.#owner.committed(snapshot);
      const ready = this.#waiters.filter((waiter) => waiter.version <= version);
      this.#waiters = this.#waiters.filter((waiter) => waiter.version > version);
      for (const { resolve } of ready) resolve();
    });
  }

  /** The output gate. */
  gate(): Promise<void> {
    if (this.#durableVersion >= this.#committedVersion || this.#world.quirks.has("noOutputGate"))
      return Promise.resolve();
    const version = this.#committedVersion;
    return new Promise((resolve) => {
      this.#waiters.push({ version, resolve });
    });
  }
}
