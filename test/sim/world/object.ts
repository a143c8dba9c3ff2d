import type { ConversationPorts } from "#edge/objects/ports.ts";
import { deliveryRetryMs, hasDelivery } from "#shared/conversation/outbox.ts";
import type { Delivery } from "#shared/conversation/outbox.ts";
import { moveDueMs } from "#shared/conversation/move.ts";
import { defaultConversationPolicy, neverMs } from "#shared/conversation/policy.ts";
import type { ConversationPolicy } from "#shared/conversation/policy.ts";
import type { StepContext } from "#shared/conversation/step.ts";
import { watchdogDueMs } from "#shared/conversation/watchdog.ts";
import type { Process } from "../process.ts";
import { NoLongerCurrent, ObjectStorage } from "./object-storage.ts";
import type { StorageOwner } from "./object-storage.ts";
import { createSimPorts } from "./object-ports.ts";
import type { World } from "./world.ts";

/** As edge/objects/conversation.ts has them. */
const deliveryDelayMs = 1_000;
const deliveriesPerAlarmMax = 50;
const cancelTriesMax = 3;
const moveWaitMs = 5_000;
const moveWatchMs = 1_000;
const movePerAlarmMs = 20_000;
const erasureWaitMs = 2_000;

/** Keys kept for ten minutes, so that a run sees them being forgotten; the rest is the product's. */
export const simPolicy: ConversationPolicy = { ...defaultConversationPolicy };

/** One instance of a Conversation object. Mirrors edge/objects/conversation.ts over simulated storage and network. */
export class Instance {
  readonly process: Process;
  readonly storage: ObjectStorage;
  readonly #world: World;
  readonly #ports: ConversationPorts;
  #deliveryTries = 0;
  #deliveryNotBeforeMs = 0;
  #isDelivering = false;
  #isMoving = false;
  #wake: (() => void) | null = null;
  isFenced = false;

  constructor(world: World, process: Process, owner: StorageOwner) {
    this.#world = world;
    this.process = process;
    this.storage = new ObjectStorage(world, process, owner, simPolicy);
    this.#ports = createSimPorts(world, process, this.storage, simPolicy);
    this.storage.step(({ store }) => {
      const head = store.readHead();
      if (head !== null && !world.quirks.has("incarnationNotRaised"))
        store.writeHead({ ...head, incarnation: head.incarnation + 1 });
    });
  }

  /** A step of a call: the reply waits until what it wrote is durable. */
  async call<Result>(run: (context: StepContext) => Result): Promise<Result> {
    const result = this.storage.stepOpen(run);
    this.#setAlarm();
    this.#wake?.();
    await this.storage.gate();
    return result;
  }

  async cancel(input: Parameters<World["machines"]["requestCancel"]>[1]) {
    const { machines } = this.#world;
    for (let tries = 0; tries < cancelTriesMax; tries += 1) {
      const requested = await this.call((context) => machines.requestCancel(context, input));
      if (requested.kind === "refused") return requested;
      if (requested.value === null || this.isFenced) break;
      await machines.carryOut(this.#ports, (run) => this.storage.step(run), requested.value);
    }
    return this.call((context) => machines.readCancelled(context, input.turnRandom));
  }

  async erase(scope: Parameters<World["machines"]["eraseConversation"]>[1]) {
    const { machines } = this.#world;
    const result = await this.call((context) => machines.eraseConversation(context, scope));
    if (result.kind !== "ok") return result;
    this.#deliveryNotBeforeMs = 0;
    await this.#deliver(this.process.now() + erasureWaitMs);
    this.#setAlarm();
    await this.storage.gate();
    return result;
  }

  async migrate(input: Parameters<World["machines"]["startMove"]>[1]) {
    const { machines } = this.#world;
    const started = await this.call((context) => machines.startMove(context, input));
    if (started.kind !== "ok") return started;
    const late = this.#world.kernel.sleep(moveWaitMs, this.process, "object.moves");
    await Promise.race([
      this.#move(this.process.now() + moveWaitMs).then(() => this.#setAlarm()),
      late,
    ]);
    return this.call((context) => machines.readHome(context, input.scope));
  }

  /** At least once, perhaps late or twice. */
  async alarm(): Promise<void> {
    this.storage.store.setAlarm(null);
    try {
      const nowMs = this.process.now();
      await this.#drive(
        Promise.all([this.#deliver(nowMs + 20_000), this.#move(nowMs + movePerAlarmMs)]),
      );
      this.storage.step(({ store, nowMs: atMs, policy }) =>
        store.purge(atMs, policy.journalKeptMs),
      );
    } catch (error) {
      if (error instanceof NoLongerCurrent) return;
      this.#deliveryNotBeforeMs = this.process.now() + simPolicy.deliveryRetryBaseMs;
    }
    this.#setAlarm();
    await this.storage.gate();
  }

  /** What a zombie still does: sends what its last state told it to send. */
  async haunt(): Promise<void> {
    const { machines, recorder } = this.#world;
    const work = machines.dueWork({
      ...this.storage.context(),
      nowMs: this.process.now() + 60_000,
    });
    const delivery = machines.nextDelivery(this.storage.context());
    try {
      if (delivery !== null) {
        recorder.sometimes("a zombie sent a delivery");
        await this.#send(delivery);
      }
      if (work !== null)
        await machines.carryOut(this.#ports, (run) => this.storage.step(run), work);
    } catch (error) {
      if (!(error instanceof NoLongerCurrent)) throw error;
    }
  }

  async #send(delivery: Delivery): Promise<Parameters<World["machines"]["confirmDelivery"]>[2]> {
    switch (delivery.kind) {
      case "history":
      case "release":
        return this.#ports.deliverHistory(delivery.cell, delivery.command);
      case "settle":
        return { kind: await this.#ports.settle(delivery) };
      case "abort": {
        const { cell, turnId, attempt } = delivery;
        const reply = await this.#ports.abortTurn(cell, turnId, attempt);
        return reply === "aborted" ? { kind: "aborted" } : { kind: "unavailable" };
      }
    }
  }

  async #deliver(untilMs: number): Promise<void> {
    if (this.#isDelivering || this.isFenced) return;
    this.#isDelivering = true;
    const { machines, recorder } = this.#world;
    const failedIds = new Set<number>();
    let hasHistory = false;
    try {
      for (let count = 0; count < deliveriesPerAlarmMax; count += 1) {
        const nowMs = this.process.now();
        if (nowMs < this.#deliveryNotBeforeMs || nowMs >= untilMs) return;
        const skipped = { outboxIds: failedIds, hasHistory };
        const delivery = machines.nextDelivery(this.storage.context(), skipped);
        if (delivery === null) break;
        const reply = await this.#send(delivery);
        const result = this.storage.step((context) =>
          machines.confirmDelivery(context, delivery, reply),
        );
        if (result === "fenced") {
          recorder.sometimes("an instance learned that it is fenced");
          this.isFenced = true;
          return;
        }
        if (result === "delivered") continue;
        for (const id of delivery.outboxIds) failedIds.add(id);
        hasHistory ||= delivery.kind === "history";
      }
      if (failedIds.size === 0 && !hasHistory) {
        this.#deliveryTries = 0;
        return;
      }
      this.#deliveryNotBeforeMs =
        this.process.now() + deliveryRetryMs(this.storage.context(), this.#deliveryTries);
      this.#deliveryTries += 1;
    } finally {
      this.#isDelivering = false;
    }
  }

  async #move(untilMs: number): Promise<void> {
    if (this.#isMoving) return;
    this.#isMoving = true;
    const { machines } = this.#world;
    try {
      while (!this.isFenced && this.process.now() < untilMs) {
        const result = await machines.moveOn(this.#ports, this.storage.store, (run) =>
          this.storage.step(run),
        );
        if (result === null) return;
        if (result === "fenced") this.isFenced = true;
      }
    } finally {
      this.#isMoving = false;
    }
  }

  async #drive(delivering: Promise<unknown>): Promise<unknown> {
    let isDelivered = false;
    const delivered = delivering.finally(() => {
      isDelivered = true;
    });
    // Where this throws first, nobody waits for the delivery any more.
    delivered.catch(() => undefined);
    for (;;) {
      if (this.isFenced) return delivered;
      const { machines } = this.#world;
      const work = machines.dueWork(this.storage.context());
      if (work !== null)
        await machines.carryOut(this.#ports, (run) => this.storage.step(run), work);
      else if (isDelivered) return delivered;
      else await this.#nextWork(delivered);
    }
  }

  async #nextWork(until: Promise<unknown>): Promise<void> {
    const woken = Promise.withResolvers<void>();
    this.#wake = woken.resolve;
    const dueMs = watchdogDueMs(this.storage.context());
    const timer =
      dueMs === null
        ? null
        : this.#world.kernel.at(
            Math.max(1, dueMs - this.process.now()),
            this.process,
            "object.due",
            woken.resolve,
          );
    try {
      await Promise.race([woken.promise, until]);
    } finally {
      this.#wake = null;
      if (timer !== null) timer.run = null;
    }
  }

  #setAlarm(): void {
    const context = this.storage.context();
    const { store } = this.storage;
    const due: number[] = [];
    if (!this.isFenced && hasDelivery(context)) {
      due.push(Math.max(context.nowMs + deliveryDelayMs, this.#deliveryNotBeforeMs));
    }
    const watchMs = watchdogDueMs(context);
    if (watchMs !== null && !this.isFenced) due.push(watchMs);
    const moveMs = moveDueMs(context);
    if (moveMs !== null && !this.isFenced) {
      due.push(this.#isMoving ? Math.max(moveMs, context.nowMs + moveWatchMs) : moveMs);
    }
    if (due.length === 0) {
      const purgeMs = store.nextPurgeMs(context.policy.journalKeptMs);
      if (purgeMs === null || purgeMs >= neverMs) return this.storage.commit();
      due.push(purgeMs);
    }
    const wantedMs = Math.min(...due);
    if (store.alarmAtMs === null || store.alarmAtMs > wantedMs) store.setAlarm(wantedMs);
    this.storage.commit();
  }
}
