import { hasDelivery } from "#shared/conversation/outbox.ts";
import type { Database } from "../world/database.ts";
import { answerTokens } from "../world/text.ts";
import type { ObjectNode } from "../world/object-node.ts";
import { simPolicy } from "../world/object.ts";
import type { World } from "../world/world.ts";
import type { Reader } from "./reader.ts";

function keyOf(node: ObjectNode): string {
  return `${node.tenant}|${node.conversationId}`;
}

function regionOf(world: World, node: ObjectNode): Database | undefined {
  const cell = node.durable.head?.historyCell;
  const plan = cell === undefined ? undefined : world.cells.get(cell)?.plan;
  return plan === undefined ? undefined : world.databases.get(plan.region);
}

/** What is left when everything has healed and come to rest: nothing may wait any more. */
export function checkRest(world: World): void {
  const { recorder } = world;
  for (const node of world.objects.values()) {
    const { head } = node.durable;
    recorder.expect(
      head?.runningTurnRandom == null,
      "I-36",
      () => `${node.name}: ${head?.runningTurnRandom} still runs`,
    );
    const context = { store: node.durable, nowMs: 0, policy: simPolicy };
    recorder.expect(
      !hasDelivery(context),
      "I-11",
      () =>
        `${node.name}: the outbox holds ${JSON.stringify(node.durable.outbox.map(({ entry }) => entry.kind))}`,
    );
  }
  checkReservations(world);
  for (const cell of world.cells.values()) {
    const count = cell.registry?.runningCount() ?? 0;
    recorder.expect(count === 0, "I-15", () => `${cell.plan.id} still runs ${count} turns`);
    for (const [shard, slots] of cell.slots) {
      recorder.expect(slots === 0, "I-21", () => `${shard} holds ${slots} slots`);
    }
  }
  for (const shard of world.shards.values()) {
    recorder.expect(shard.running === 0, "I-36", () => `${shard.id} still generates`);
  }
  for (const request of world.conversations.requests) {
    recorder.expect(request.isOver, "I-36", () => `${request.text} never ended`);
  }
}

/** I-27: whoever ended a turn has settled what was reserved for it; nothing waits for its time to run out. */
function checkReservations(world: World): void {
  const open = new Set([...world.ledgers.values()].flatMap((ledger) => [...ledger.open.keys()]));
  for (const node of world.objects.values()) {
    for (const turn of node.durable.turns.values()) {
      const isLeft = turn.reservationId !== null && open.has(turn.reservationId);
      world.recorder.expect(!isLeft, "I-27", () => `${turn.turnId} ended, its reservation did not`);
    }
  }
}

/** The whole history: object, database, money, streams. */
export function checkHistory(world: World): void {
  for (const node of world.objects.values()) {
    const { head } = node.durable;
    if (head === null) continue;
    if (head.erasure === "none") checkConversation(world, node);
    else checkErased(world, node);
  }
  checkRequests(world);
  checkMoney(world);
  for (const reader of world.conversations.readers) checkReader(world, reader);
}

/** I-07, I-11, I-13, I-16: the region that keeps the history has exactly the object's rows, and no other region has any. */
function checkConversation(world: World, node: ObjectNode): void {
  const { recorder } = world;
  const items = [...node.durable.items.values()].sort((a, b) => a.seq - b.seq);
  recorder.expect(
    items.every((item, index) => item.seq === index + 1),
    "I-13",
    () => `${node.name}: gaps`,
  );
  const home = regionOf(world, node);
  const rows = home?.tables.conversations.get(keyOf(node))?.items ?? [];
  const hasRestored = (home?.restores ?? 0) > 0;
  const isSame =
    rows.length === items.length &&
    rows.every((row, index) => {
      const item = items[index];
      return (
        item !== undefined &&
        row.seq === item.seq &&
        row.id === item.id &&
        (row.json === (item.isTombstone ? "" : item.json) || (item.isTombstone && hasRestored))
      );
    });
  recorder.expect(
    isSame,
    "I-11",
    () =>
      `${node.name}: ${items.length} items, ${rows.length} rows in ${home?.region}: ${JSON.stringify(rows.map(({ id, json }) => [id, json.length]))} vs ${JSON.stringify(items.map(({ id, json }) => [id, json.length]))}`,
  );
  for (const database of world.databases.values()) {
    if (database === home || database.restores > 0) continue;
    const others = database.tables.conversations.get(keyOf(node))?.items.length ?? 0;
    recorder.expect(
      others === 0,
      "I-16",
      () => `${node.name}: ${others} rows in ${database.region} too`,
    );
  }
  recorder.sometimes(
    "a conversation moved to another region",
    node.durable.head?.move?.step === "done" && node.durable.head.move.copiesHistory,
  );
}

/** I-49: nothing of an erased conversation can be had. */
function checkErased(world: World, node: ObjectNode): void {
  const { recorder } = world;
  recorder.sometimes("a conversation was erased");
  const { items, journals, turns } = node.durable;
  recorder.expect(
    items.size + journals.size + turns.size === 0,
    "I-49",
    () => `${node.name}: content in its object`,
  );
  for (const database of world.databases.values()) {
    if (database.restores > 0) continue;
    const rows = database.tables.conversations.get(keyOf(node))?.items ?? [];
    recorder.expect(
      rows.length === 0,
      "I-49",
      () => `${node.name}: ${rows.length} rows in ${database.region}`,
    );
  }
}

function countIn(node: ObjectNode, text: string): number {
  return [...node.durable.items.values()].filter(({ json }) => json.includes(text)).length;
}

/** I-07, I-09, I-10: acknowledged once, refused never. */
function checkRequests(world: World): void {
  const { recorder } = world;
  for (const request of world.conversations.requests) {
    if (request.object.durable.head?.erasure !== "none") continue;
    const count = countIn(request.object, request.text);
    const what = (): string =>
      `${request.object.name} ${request.text} (${request.told}): ${count} times`;
    if (request.told === "ok") recorder.expect(count === 1, "I-07", what);
    else if (request.told === "refused" || request.told === "failed")
      recorder.expect(count === 0, "I-10", what);
    else recorder.expect(count <= 1, "I-10", what);
  }
}

/** I-28: one bill per turn, for what was delivered; the ledger was charged the same. */
function checkMoney(world: World): void {
  const { recorder } = world;
  const rows = [...world.databases.values()].flatMap((database) => [
    ...database.tables.usage.values(),
  ]);
  const byTurn = new Map<string, number>();
  for (const row of rows) byTurn.set(row.turnId, (byTurn.get(row.turnId) ?? 0) + 1);
  const hasRestored = [...world.databases.values()].some(({ restores }) => restores > 0);
  const charges = new Map<string, number[]>();
  for (const ledger of world.ledgers.values()) {
    recorder.expect(ledger.open.size === 0, "I-27", () => `${ledger.name}: reservations are left`);
    for (const { id, tokens } of ledger.charges)
      charges.set(id, [...(charges.get(id) ?? []), tokens]);
  }
  for (const [id, tokens] of charges) {
    recorder.expect(tokens.length === 1, "I-27", () => `${id} was settled ${tokens.length} times`);
  }
  for (const node of world.objects.values()) {
    for (const turn of node.durable.turns.values()) {
      if (turn.state === "running") continue;
      const count = byTurn.get(turn.turnId) ?? 0;
      recorder.expect(
        count === 1 || hasRestored,
        "I-28",
        () => `${turn.turnId}: billed ${count} times`,
      );
      if (turn.state !== "completed") continue;
      const row = rows.find(({ turnId }) => turnId === turn.turnId);
      const key = world.generations.promptOf(turn.turnId);
      if (row === undefined || key === null) continue;
      const tokens = answerTokens(node.zone, key >>> 0).length;
      recorder.expect(
        row.completionTokens === tokens,
        "I-28",
        () => `${turn.turnId}: billed ${row.completionTokens} tokens, delivered ${tokens}`,
      );
      const charge = charges.get(turn.reservationId ?? "")?.[0];
      recorder.expect(
        charge === row.promptTokens + row.completionTokens || world.hasExpired(turn.reservationId),
        "I-28",
        () => `${turn.turnId}: charged ${charge}, used ${row.promptTokens + row.completionTokens}`,
      );
    }
  }
}

/** I-41: what a reader was given is the journal's; past a restart only if it was told so. */
function checkReader(world: World, reader: Reader): void {
  const { recorder } = world;
  const { durable } = reader.object;
  const turn = durable.turns.get(reader.turnRandom);
  if (turn === undefined || durable.head?.erasure !== "none") return;
  const journal = new Map<number, string>();
  for (const { text } of durable.journals.get(reader.turnRandom) ?? []) {
    for (const block of text.split("\n\n")) {
      const match = /^id: (\d+)\n/.exec(block);
      if (match !== null) journal.set(Number(match[1]), block);
    }
  }
  // Whoever was told of an error knows that what it has is not complete.
  if (reader.end === "error") return;
  const isWhole = reader.end === "done";
  const hasFailed = turn.state === "failed" || turn.state === "cancelled";
  const lastSafe = hasFailed ? turn.journalToSeq - 1 : Infinity;
  const safeSeq = isWhole ? Infinity : Math.min(turn.restartedAfterSeq ?? Infinity, lastSafe);
  for (const [seq, block] of reader.frames) {
    if (seq > safeSeq) continue;
    const kept = journal.get(seq);
    if (kept === undefined && !isWhole) continue;
    if (kept !== block && reader.mayBeAhead()) {
      recorder.sometimes("known gap: a reader and its cell were lost at once");
      return;
    }
    recorder.expect(
      kept === block,
      "I-41",
      () =>
        `${reader.object.name} ${reader.turnRandom} frame ${seq}: read ${JSON.stringify(block)}, journaled ${JSON.stringify(kept)}`,
    );
  }
  if (!isWhole) return;
  recorder.sometimes("a reader had the whole answer");
  recorder.sometimes("an answer was whole after a failover", turn.attempt > 1);
  recorder.expect(
    reader.lastSeq === turn.journalToSeq,
    "I-41",
    () => `${reader.turnRandom}: read up to ${reader.lastSeq}, journaled ${turn.journalToSeq}`,
  );
}
