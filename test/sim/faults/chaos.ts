import { zones } from "../world/ids.ts";
import type { World } from "../world/world.ts";
import type { ObjectNode } from "../world/object-node.ts";

/** Time between two looks, ms. */
const periodMs = 400;

/** Makes the faults happen that happen by themselves, until the world is healed. */
export function startChaos(world: World): void {
  const { faults, kernel } = world;
  const random = kernel.random("chaos");
  const anyObject = (): ObjectNode | null => {
    const open = [...world.objects.values()].filter(({ instance }) => instance !== null);
    return open.length === 0 ? null : random.pick(open);
  };
  const names = (): readonly string[] => [
    ...world.workers.keys(),
    ...world.cells.keys(),
    ...[...world.objects.values()].map(({ name }) => name),
  ];
  const look = (): void => {
    if (faults.isHealed) return;
    if (faults.fires("object.crash")) anyObject()?.crash();
    if (faults.fires("object.evict")) void anyObject()?.evict();
    if (faults.fires("object.zombie")) anyObject()?.haunt();
    if (faults.fires("worker.crash")) {
      const worker = random.pick([...world.workers.values()]);
      worker.kill();
      world.startWorker(worker.name, worker.zone);
    }
    if (faults.fires("cell.crash")) random.pick([...world.cells.values()]).crash();
    if (faults.fires("cell.drains")) random.pick([...world.cells.values()]).drain();
    if (faults.fires("shard.restarts")) random.pick([...world.shards.values()]).restart();
    if (faults.fires("shard.allDown")) loseShards(world);
    if (faults.fires("ledger.crash")) random.pick([...world.ledgers.values()]).crash();
    if (faults.fires("net.partition")) {
      const all = names();
      const untilMs = kernel.nowMs + 500 + random.unit() * 15_000;
      const isSymmetric = random.chance(0.5);
      const from = random.pick(all);
      for (let count = random.between(1, 4); count > 0; count -= 1) {
        faults.partition(from, random.pick(all), untilMs, isSymmetric);
      }
    }
    if (faults.fires("object.isolated")) {
      const busy = [...world.objects.values()].filter(
        ({ durable }) => durable.head?.runningTurnRandom != null,
      );
      const name = busy.length === 0 ? undefined : random.pick(busy).name;
      const untilMs = kernel.nowMs + 11_000 + random.unit() * 8_000;
      for (const other of names())
        if (name !== undefined) faults.partition(name, other, untilMs, true);
    }
    if (faults.fires("region.loss")) loseRegion(world);
    const database = random.pick([...world.databases.values()]);
    if (faults.fires("db.down")) database.downUntilMs = kernel.nowMs + random.unit() * 30_000;
    if (random.chance(0.1)) database.backUp();
    if (faults.fires("db.restore")) database.restore();
    kernel.at(periodMs, null, "chaos", look);
  };
  kernel.at(periodMs, null, "chaos", look);
}

/** Some come back while a begun answer still waits for one, some after that. */
function loseShards(world: World): void {
  const random = world.kernel.random("shardLoss");
  const zone = random.pick(zones);
  const longestMs = random.pick([3_000, 12_000, 60_000]);
  for (const shard of world.shards.values()) {
    if (shard.zone === zone) shard.goDown(longestMs * (0.3 + 0.7 * random.unit()));
  }
}

function loseRegion(world: World): void {
  const random = world.kernel.random("chaos");
  const region = random.pick([...world.databases.keys()]);
  const database = world.databases.get(region);
  if (database !== undefined) database.downUntilMs = world.kernel.nowMs + 10_000;
  for (const cell of world.cells.values()) if (cell.plan.region === region) cell.crash();
}
