import { createHash } from "node:crypto";
import { beginTurn } from "#shared/conversation/begin-turn.ts";
import { advanceMove, applyMove, moveDueMs, startMove } from "#shared/conversation/move.ts";
import type { MoveReply, MoveResult, MoveWork } from "#shared/conversation/move.ts";
import { historyItem } from "#shared/conversation/move-copy.ts";
import { defaultMovePolicy } from "#shared/conversation/move-state.ts";
import type { MoveDestination } from "#shared/conversation/move-state.ts";
import { confirmDelivery, nextDelivery } from "#shared/conversation/outbox.ts";
import { completeTurn } from "#shared/conversation/run-turn.ts";
import type { StepContext } from "#shared/conversation/step.ts";
import { historyLink } from "#shared/protocol/internal/history.ts";
import type { HistoryCommand, HistoryReply } from "#shared/protocol/internal/history.ts";
import type { PrewarmReply } from "#shared/protocol/internal/prewarm.ts";
import type { CellId, RegionId } from "#shared/residency/brands.ts";
import {
  aContext,
  aScope,
  aTurn,
  anOutcome,
  cellA,
  cellB,
} from "#test/support/conversation-builders.ts";
import { MemoryConversationStore } from "#test/support/memory-conversation-store.ts";
import { MemoryHistory } from "#test/support/memory-history.ts";
import type { Kept } from "#test/support/memory-history.ts";

const model = "sim/llama-3.1-8b-instruct";
export const regions = {
  [cellA]: "eu-west-1" as RegionId,
  "eu-west-1b": "eu-west-1" as RegionId,
  [cellB]: "eu-central-1" as RegionId,
};

export function aDestination(more: Partial<MoveDestination> = {}): MoveDestination {
  return {
    cell: cellB,
    region: "eu-central-1" as RegionId,
    shard: null,
    models: [model],
    ...more,
  };
}

export const policy = { ...defaultMovePolicy, copyItemsMax: 3 };

/** The chain of items in their order. */
function chainOf(items: readonly Kept[]): string {
  return items.reduce(
    (chain, item) => createHash("sha256").update(historyLink(chain, item)).digest("hex"),
    "",
  );
}

/** A conversation with a database in each of two regions; every call is a step that a crash can follow. */
export class MovingWorld {
  readonly store = new MemoryConversationStore();
  readonly databases = new Map<CellId, MemoryHistory>([
    [cellA, new MemoryHistory(chainOf)],
    [cellB, new MemoryHistory(chainOf)],
  ]);
  readonly sent: { cell: CellId; command: HistoryCommand }[] = [];
  nowMs = 10_000;
  turns = 0;
  prewarm: PrewarmReply | { kind: "unreachable" | "none" } = {
    kind: "warmed",
    shard: "eu-central-1a/llama-0",
    promptTokens: 900,
    cachedTokens: 0,
  };

  context(): StepContext {
    return aContext(this.store, this.nowMs);
  }

  database(cell: CellId): MemoryHistory {
    const own = cell === ("eu-west-1b" as CellId) ? cellA : cell;
    const found = this.databases.get(own);
    if (found === undefined) throw new Error(`no database of ${cell}`);
    return found;
  }

  get head() {
    const { head } = this.store;
    if (head === null) throw new Error("no head");
    return head;
  }

  /** Begins a turn; the reply as it is. */
  begin(turnRandom = this.nextRandom()) {
    return beginTurn(this.context(), aTurn(turnRandom, { cells: [cellA, cellB] }));
  }

  nextRandom(): string {
    this.turns += 1;
    return `t${String(this.turns).padStart(11, "0")}`;
  }

  /** A whole turn: three items, with a tombstone when it fails. */
  turn(status: "completed" | "failed" = "completed"): void {
    const begun = this.begin();
    if (begun.kind !== "lease") throw new Error(`no lease: ${begun.kind}`);
    const { lease } = begun;
    completeTurn(this.context(), {
      scope: aScope(),
      turnId: lease.turnId,
      attempt: lease.attempt,
      segment: null,
      outcome: anOutcome(lease, {
        status,
        items: status === "failed" ? [] : anOutcome(lease).items,
      }),
    });
  }

  /** The object dies and comes back. */
  crash(): void {
    this.store.writeHead({ ...this.head, incarnation: this.head.incarnation + 1 });
  }

  execute(cell: CellId, command: HistoryCommand): HistoryReply {
    this.sent.push({ cell, command });
    return this.database(cell).execute(command);
  }

  /** Delivers what the outbox has until it is empty or nothing of it can be delivered. */
  deliver(): void {
    const failed = new Set<number>();
    let hasHistory = false;
    for (let count = 0; count < 200; count += 1) {
      const delivery = nextDelivery(this.context(), { outboxIds: failed, hasHistory });
      if (delivery === null) return;
      const reply =
        delivery.kind === "history" || delivery.kind === "release"
          ? this.execute(delivery.cell, delivery.command)
          : ({ kind: delivery.kind === "abort" ? "aborted" : "settled" } as const);
      if (confirmDelivery(this.context(), delivery, reply) === "delivered") continue;
      for (const id of delivery.outboxIds) failed.add(id);
      hasHistory ||= delivery.kind === "history";
    }
    throw new Error("the outbox does not become empty");
  }

  start(destination = aDestination(), moveId = "move_1") {
    const destinations = [destination];
    return startMove(this.context(), { scope: aScope(), moveId, destinations, regions });
  }

  perform(work: MoveWork): MoveReply {
    if (work.kind === "prewarm") return { kind: "prewarm", reply: this.prewarm };
    const reply = this.execute(work.cell, work.command);
    return { kind: "history", reply, ownChain: this.ownChain() };
  }

  ownChain(): string {
    const items = this.store.readItems(1, this.head.nextSeq - 1, 10_000);
    return chainOf(items.map(historyItem));
  }

  advance(): MoveWork | null {
    return advanceMove(this.context(), policy);
  }

  apply(work: MoveWork, reply: MoveReply): MoveResult {
    return applyMove(this.context(), work, reply, policy);
  }

  /** Carries the move on until nothing is due; time stands. */
  moveOn(): void {
    for (let count = 0; count < 200; count += 1) {
      const work = this.advance();
      if (work === null) return;
      if (this.apply(work, this.perform(work)) === "fenced") return;
    }
    throw new Error("the move does not end");
  }

  /** Carries the move on, waiting where it waits, until it has ended. */
  finish(): void {
    for (let count = 0; count < 500; count += 1) {
      this.moveOn();
      const { step } = this.head.move ?? { step: "done" };
      if (step === "done" || step === "failed") return;
      this.nowMs = Math.max(this.nowMs + 1, moveDueMs(this.context(), policy) ?? 0);
    }
    throw new Error("the move does not end");
  }
}

/** A conversation at home in region eu-west-1: seven items of which one is a tombstone, all delivered. */
export function aMovingWorld(): MovingWorld {
  const world = new MovingWorld();
  world.turn();
  world.turn("failed");
  world.turn();
  world.turn();
  world.deliver();
  return world;
}

/** What holds at every instant, whatever was lost: the region that the head names has all that was delivered. */
export function assertOneHome(world: MovingWorld): void {
  const { deliveredSeq, historyCell } = world.head;
  const { items } = world.database(historyCell);
  if (items.length < deliveredSeq) {
    throw new Error(`${historyCell} has ${items.length} items of ${deliveredSeq}`);
  }
}

/** What holds at the end: one region has all, equal to the object; the other has nothing; each turn is billed once. */
export function assertMoved(world: MovingWorld): void {
  world.deliver();
  const { move, historyCell, homeCell } = world.head;
  const old = world.database(cellA);
  const fresh = world.database(cellB);
  const problems = [
    move?.step === "done" ? "" : `the move is ${move?.step}: ${move?.reason}`,
    historyCell === cellB && homeCell === cellB ? "" : "the home is not the destination",
    fresh.execute({ ...sealOf(world), fence: fresh.fence }).kind === "sealed" ? "" : "no seal",
    old.items.length === 0 ? "" : "the old region still has items",
    old.isErased || fresh.isErased ? "something was erased" : "",
    world.store.outbox.length === 0 ? "" : "the outbox is not empty",
    [...old.usage.keys()].some((turn) => fresh.usage.has(turn)) ? "a turn is billed twice" : "",
    old.usage.size + fresh.usage.size === world.store.turns.size ? "" : "a turn is not billed",
  ].filter((problem) => problem !== "");
  if (problems.length > 0) throw new Error(problems.join("; "));
  const sealed = fresh.execute({ ...sealOf(world), fence: fresh.fence });
  if (sealed.kind !== "sealed" || sealed.chain !== world.ownChain()) {
    throw new Error("the chains differ");
  }
}

function sealOf(world: MovingWorld) {
  const { conversationId, incarnation: fence, jurisdiction, tenant } = world.head;
  return { v: 1, kind: "seal", tenant, jurisdiction, conversationId, fence } as const;
}
