import type { ConversationId, Jurisdiction, TenantId } from "#shared/residency/brands.ts";
import type { ConversationScope } from "#shared/conversation/rpc.ts";
import type { Scheduled } from "../kernel.ts";
import { Process } from "../process.ts";
import { conversationIdOf } from "./ids.ts";
import { Instance } from "./object.ts";
import { SimStore } from "./sim-store.ts";
import type { World } from "./world.ts";

/** How long after a crash an alarm that was running comes again, ms. */
const alarmRetryMs = 2_000;

/** A conversation's object over its whole life: what is durable, its alarm, and the instance that is current. */
export class ObjectNode {
  readonly name: string;
  readonly zone: Jurisdiction;
  readonly tenant: TenantId;
  readonly conversationRandom: string;
  readonly conversationId: ConversationId;
  readonly #world: World;
  durable = new SimStore();
  instance: Instance | null = null;
  #alarm: Scheduled | null = null;
  #isAlarmRunning = false;
  /** The incarnation that the current instance found. */
  #floor = 0;
  /** The one that the platform holds for current, from before its constructor runs. */
  #current: Process | null = null;
  /** Set when a client asked for its erasure. */
  isErasureAsked = false;
  /** Set when an erasure was acknowledged to somebody. */
  isErasureAcknowledged = false;

  constructor(world: World, zone: Jurisdiction, tenant: TenantId, conversationRandom: string) {
    this.#world = world;
    this.zone = zone;
    this.tenant = tenant;
    this.conversationRandom = conversationRandom;
    this.conversationId = conversationIdOf(zone, conversationRandom);
    this.name = `object:${conversationRandom}`;
  }

  scope(requestId: string): ConversationScope {
    const { conversationId, conversationRandom, tenant, zone: jurisdiction } = this;
    return {
      tenant,
      jurisdiction,
      conversationId,
      conversationRandom,
      requestId,
      traceparent: "trace",
    };
  }

  /** The current instance; a new one where there is none. */
  open(): Process {
    if (this.instance === null) {
      const { kernel, clockOf } = this.#world;
      const process = new Process(kernel, this.name, this.zone, clockOf(this.name));
      this.#current = process;
      this.#floor = this.durable.head?.incarnation ?? 0;
      this.instance = new Instance(this.#world, process, {
        durable: this.durable,
        isCurrent: (asker) => this.#current === asker,
        reset: (asker) => {
          if (this.instance?.process === asker) this.crash();
        },
        committed: (store) => this.#committed(store),
      });
    }
    return this.instance.process;
  }

  #committed(store: SimStore): void {
    const before = this.durable;
    this.#world.recorder.expect(
      this.#floor === 0 || (store.head?.incarnation ?? 0) > this.#floor,
      "I-15",
      () => `${this.name}: a new instance kept the incarnation ${this.#floor}`,
    );
    this.durable = store;
    this.#world.conversations.committed(this, before, store);
    this.#scheduleAlarm();
  }

  #scheduleAlarm(): void {
    const { alarmAtMs } = this.durable;
    if (this.#alarm !== null) this.#alarm.run = null;
    this.#alarm = null;
    if (alarmAtMs === null || this.#isAlarmRunning) return;
    const { faults, kernel } = this.#world;
    const own = this.#current?.now() ?? kernel.nowMs;
    const lateMs = faults.fires("object.alarmLate") ? kernel.random("alarm").unit() * 5_000 : 0;
    this.#alarm = kernel.at(Math.max(1, alarmAtMs - own) + lateMs, null, "object.alarm", () => {
      void this.#ring(faults.fires("object.alarmTwice"));
    });
  }

  async #ring(isTwice: boolean): Promise<void> {
    const { kernel } = this.#world;
    this.#alarm = null;
    const process = this.open();
    const { instance } = this;
    if (instance === null) return;
    this.#isAlarmRunning = true;
    const again = process.onDeath(() => {
      this.#isAlarmRunning = false;
      kernel.at(alarmRetryMs, null, "object.alarmAgain", () => void this.#ring(false));
    });
    if (isTwice) void instance.alarm();
    await instance.alarm();
    if (this.instance !== instance) return;
    again();
    this.#isAlarmRunning = false;
    this.#scheduleAlarm();
  }

  /** The instance is gone with all that is not durable. */
  crash(): void {
    const gone = this.instance;
    this.instance = null;
    gone?.process.kill();
    this.#scheduleAlarm();
  }

  /** Evicted while nothing is under way: what was written is durable first. */
  async evict(): Promise<void> {
    const { instance } = this;
    if (instance === null || this.#isAlarmRunning) return;
    await instance.storage.gate();
    if (this.instance === instance && !this.#isAlarmRunning) this.crash();
  }

  /** Another instance takes over, but this one runs on for a while and does not know. */
  haunt(): void {
    const zombie = this.instance;
    if (zombie === null) return;
    this.instance = null;
    this.#isAlarmRunning = false;
    const { kernel } = this.#world;
    const random = kernel.random("zombie");
    for (let times = random.between(1, 3); times > 0; times -= 1) {
      kernel.at(
        random.unit() ** 3 * 6_000,
        zombie.process,
        "object.haunts",
        () => void zombie.haunt(),
      );
    }
    kernel.at(8_000, zombie.process, "object.zombieEnds", () => zombie.process.kill());
    this.open();
    this.#scheduleAlarm();
  }
}
