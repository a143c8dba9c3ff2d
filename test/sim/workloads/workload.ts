import type { MoveDestination } from "#shared/conversation/move-state.ts";
import { canaryOf } from "../checkers/recorder.ts";
import { Process } from "../process.ts";
import { callObject } from "../world/calls.ts";
import { Client } from "../world/client.ts";
import { cellPlans, modelId, tenants, zones } from "../world/ids.ts";
import { ObjectNode } from "../world/object-node.ts";
import type { ChatRequest } from "../world/worker.ts";
import type { World } from "../world/world.ts";

const clientsPerZone = 3;

/** Clients that chat, repeat, contend, come back, move and erase, until they are told to stop. */
export class Workload {
  readonly #world: World;
  #running = 0;
  #isStopping = false;

  constructor(world: World) {
    this.#world = world;
  }

  /** Whether every client waits for nothing. */
  get isIdle(): boolean {
    return this.#running === 0;
  }

  stop(): void {
    this.#isStopping = true;
  }

  /** One more message in every conversation: only then does an object learn that its database came back older. */
  nudge(): void {
    for (const object of this.#world.objects.values()) {
      if (object.durable.head === null || object.isErasureAsked) continue;
      const still = { skewMs: 0, drift: 0 };
      const name = `client:${object.zone}:nudge:${object.name}`;
      const process = new Process(this.#world.kernel, name, object.zone, still);
      this.#running += 1;
      void this.#nudge(new Client(this.#world, process), object);
    }
  }

  async #nudge(client: Client, object: ObjectNode): Promise<void> {
    const number = this.#world.nextNumber();
    for (let told = "unknown"; told === "unknown";) {
      const record = await client.chat({
        object,
        api: "chat",
        stream: false,
        isBackground: false,
        key: `chat;nudge${number}`,
        body: "nudge",
        text: `${canaryOf(object.zone)} m${number};`,
      });
      ({ told } = record);
    }
    this.#running -= 1;
  }

  start(): void {
    const { kernel } = this.#world;
    for (const zone of zones) {
      for (let number = 0; number < clientsPerZone; number += 1) {
        const process = new Process(kernel, `client:${zone}:${number}`, zone, {
          skewMs: 0,
          drift: 0,
        });
        this.#running += 1;
        void this.#live(new Client(this.#world, process), zone);
      }
    }
  }

  async #live(client: Client, zone: (typeof zones)[number]): Promise<void> {
    const { kernel } = this.#world;
    const random = kernel.random(`workload.${client.name}`);
    await kernel.sleep(random.unit() * 500, client.process, "client.starts");
    while (!this.#isStopping) {
      const object = this.#pickObject(zone, random.unit());
      const what = random.unit();
      if (what < 0.03 && object.durable.head !== null) await this.#erase(client, object);
      else if (what < 0.1 && object.durable.head !== null) await this.#migrate(client, object);
      else if (what < 0.22) await this.#chatStateless(client, object);
      else await this.#chat(client, object);
      await kernel.sleep(random.unit() * 800, client.process, "client.thinks");
    }
    this.#running -= 1;
  }

  #pickObject(zone: (typeof zones)[number], draw: number): ObjectNode {
    const own = [...this.#world.objects.values()].filter(
      (node) => node.zone === zone && !node.isErasureAsked && node.durable.items.size < 14,
    );
    const recent = own.slice(-3);
    const found = recent[Math.floor(draw * (recent.length + 1))];
    const tenant = tenants[Math.floor(draw * 997) % tenants.length] ?? tenants[0];
    if (tenant === undefined) throw new Error("no tenant");
    return found ?? this.#world.createObject(zone as ObjectNode["zone"], tenant);
  }

  /** The object is one that no store knows: it only names tenant and zone. */
  async #chatStateless(client: Client, { zone, tenant }: ObjectNode): Promise<void> {
    const number = this.#world.nextNumber();
    const nobody = new ObjectNode(this.#world, zone, tenant, `stateless${number}`);
    const turnId = `turn_s${number}` as Parameters<Client["chatStateless"]>[2];
    await client.chatStateless(nobody, `${canaryOf(zone)} s${number};`, turnId);
  }

  async #chat(client: Client, object: ObjectNode): Promise<void> {
    const { faults, kernel, recorder } = this.#world;
    const random = kernel.random(`workload.${client.name}`);
    const number = this.#world.nextNumber();
    const isKeyed = random.chance(0.5);
    const request: ChatRequest = {
      object,
      api: random.pick(["chat", "responses"] as const),
      stream: random.chance(0.75),
      isBackground: random.chance(0.15),
      key: isKeyed ? `chat;k${number}` : null,
      body: `sha-${number}`,
      text: `${canaryOf(object.zone)} m${number};`,
    };
    // Two identical requests at the same instant, from two Workers: one generation.
    const twin = isKeyed && random.chance(0.15) ? client.chat(request) : null;
    const record = await client.chat(request);
    const twinRecord = await twin;
    if (twinRecord !== null && record.told === "ok" && twinRecord.told === "ok") {
      recorder.sometimes("two identical requests were one");
      recorder.expect(
        record.turnRandom === twinRecord.turnRandom,
        "I-08",
        () => `${request.key}: two turns`,
      );
    }
    if (isKeyed && record.told === "ok" && faults.fires("client.otherBody")) {
      const other = {
        ...request,
        body: "sha-other",
        text: `${canaryOf(object.zone)} m${this.#world.nextNumber()};`,
      };
      const refused = await client.chat(other);
      const isErased = object.isErasureAsked;
      recorder.expect(
        refused.told !== "ok" || isErased,
        "I-09",
        () => `${request.key} was taken with another body`,
      );
    }
  }

  async #erase(client: Client, object: ObjectNode): Promise<void> {
    object.isErasureAsked = true;
    const worker = this.#world.workerOf(object.zone);
    const result = await callObject(this.#world, worker, {
      name: object.name,
      zone: object.zone,
      kind: "erase",
      open: () => object.open(),
      content: () => "",
      handle: async () => {
        if (object.instance === null) throw new Error("gone");
        return object.instance.erase(object.scope(`erase:${client.name}`));
      },
    });
    if (result?.kind === "ok") object.isErasureAcknowledged = true;
  }

  async #migrate(client: Client, object: ObjectNode): Promise<void> {
    const random = this.#world.kernel.random(`workload.${client.name}`);
    const plans = cellPlans.filter(({ zone }) => zone === object.zone);
    const plan = random.pick(plans);
    const destination: MoveDestination = {
      cell: plan.id,
      region: plan.region,
      shard: null,
      models: [modelId],
    };
    const input = {
      scope: object.scope("migrate"),
      moveId: `move_${this.#world.nextNumber()}`,
      destinations: [destination],
      regions: Object.fromEntries(plans.map(({ id, region }) => [id, region])),
    };
    await callObject(this.#world, this.#world.workerOf(object.zone), {
      name: object.name,
      zone: object.zone,
      kind: "migrate",
      open: () => object.open(),
      content: () => "",
      handle: async () => {
        if (object.instance === null) throw new Error("gone");
        return object.instance.migrate(input);
      },
    });
  }
}
