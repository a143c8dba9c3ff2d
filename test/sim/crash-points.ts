import { checkHistory, checkRest } from "./checkers/final.ts";
import { canaryOf } from "./checkers/recorder.ts";
import type { Violation } from "./checkers/recorder.ts";
import { profiles } from "./faults/profiles.ts";
import { Kernel } from "./kernel.ts";
import { Process } from "./process.ts";
import { isAtRest } from "./simulate.ts";
import { Client } from "./world/client.ts";
import { tenants, zones } from "./world/ids.ts";
import type { ObjectNode } from "./world/object-node.ts";
import { World } from "./world/world.ts";

/** What dies. The last two are deaths of two at once. */
export const victims = [
  "object",
  "worker",
  "cell",
  "shard",
  "database",
  "ledger",
  "client",
  "worker and cell",
  "object and cell",
] as const;
export type Victim = (typeof victims)[number];

/** The turn that is enumerated. */
export interface TurnShape {
  readonly api: "chat" | "responses";
  readonly stream: boolean;
  readonly isBackground: boolean;
}

/** How one enumerated run ended. */
export interface CrashRun {
  readonly violations: readonly Violation[];
  /** Events of the turn until its client was told; without a victim the number of points. */
  readonly events: number;
  readonly isAtRest: boolean;
}

/** Time within which all must come to rest after the death, ms: a deadline, its grace and the watchdog's bounds. */
const restMs = 400_000;

function strike(world: World, object: ObjectNode, client: Client, victim: Victim): void {
  for (const part of victim.split(" and ")) {
    if (part === "object") object.crash();
    if (part === "client") {
      client.process.kill();
      // Nobody waits for what it asked any more.
      for (const request of world.conversations.requests) request.isOver = true;
    }
    if (part === "ledger") for (const ledger of world.ledgers.values()) ledger.crash();
    if (part === "worker") {
      for (const worker of [...world.workers.values()]) {
        worker.kill();
        world.startWorker(worker.name, worker.zone);
      }
    }
    if (part === "cell") {
      for (const cell of world.cells.values()) {
        if ((cell.registry?.runningCount() ?? 0) > 0) cell.crash();
      }
    }
    if (part === "shard") {
      for (const shard of world.shards.values()) if (shard.running > 0) shard.restart();
    }
    if (part === "database") {
      for (const database of world.databases.values())
        database.downUntilMs = world.kernel.nowMs + 5_000;
    }
  }
}

/**
 * One turn in a world without any other fault, whose victim dies after `afterEvents` events; null: nothing dies. Everything must
 * come to rest afterwards, and the whole history must hold.
 */
export async function crashTurn(
  shape: TurnShape,
  victim: Victim | null,
  afterEvents: number,
): Promise<CrashRun> {
  const kernel = new Kernel(11);
  const [calm, [zone], [tenant]] = [profiles["calm"], zones, tenants];
  if (calm === undefined || zone === undefined || tenant === undefined) throw new Error("no world");
  const world = new World(kernel, calm, null);
  const object = world.createObject(zone as ObjectNode["zone"], tenant);
  const process = new Process(kernel, `client:${zone}:0`, zone, { skewMs: 0, drift: 0 });
  const client = new Client(world, process);
  let isTold = false;
  void client
    .chat({
      ...shape,
      object,
      key: "chat;k1",
      body: "sha-1",
      text: `${canaryOf(zone)} m${world.nextNumber()};`,
    })
    .then(() => {
      isTold = true;
    });
  const isOver = (): boolean => isTold || world.recorder.violations.length > 0;
  await kernel.run(isOver, kernel.nowMs + restMs, afterEvents);
  const { events } = kernel;
  if (victim !== null) {
    kernel.log("world", `${victim} dies`);
    strike(world, object, client, victim);
    if (victim === "client") isTold = true;
  }
  world.faults.isHealed = true;
  let isQuiet = false;
  const watch = (): void => {
    isQuiet = isAtRest(world, { isIdle: isTold });
    if (!isQuiet) kernel.at(500, null, "watch", watch);
  };
  watch();
  const isBroken = (): boolean => world.recorder.violations.length > 0;
  await kernel.run(() => isQuiet || isBroken(), kernel.nowMs + restMs, kernel.events + 40_000);
  await kernel.run(isBroken, kernel.nowMs + 12_000, kernel.events + 40_000);
  if (!isBroken()) {
    checkRest(world);
    world.expireReservations();
    checkHistory(world);
  }
  for (const node of world.objects.values()) node.instance?.process.kill();
  return { violations: world.recorder.violations, events, isAtRest: isQuiet };
}
