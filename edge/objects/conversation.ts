import { DurableObject } from "cloudflare:workers";
import { createConversationPorts } from "../deps.ts";
import { beginTurn } from "#shared/conversation/begin-turn.ts";
import { neverMs } from "#shared/conversation/policy.ts";
import { readCancelled, requestCancel } from "#shared/conversation/cancel-turn.ts";
import {
  addItems,
  createConversation,
  deleteItem,
  describeConversation,
  eraseConversation,
  listItems,
  readItem,
  updateMetadata,
} from "#shared/conversation/items.ts";
import { moveDueMs, readHome, startMove } from "#shared/conversation/move.ts";
import {
  confirmDelivery,
  deliveryRetryMs,
  hasDelivery,
  nextDelivery,
} from "#shared/conversation/outbox.ts";
import type { Delivery } from "#shared/conversation/outbox.ts";
import type {
  BeginTurnInput,
  BeginTurnResult,
  CheckpointInput,
  CompleteTurnInput,
  ConversationResult,
  ConversationRpc,
  ConversationScope,
  FailoverInput,
  FailoverResult,
  FenceReply,
  ListItemsInput,
} from "#shared/conversation/rpc.ts";
import { checkpoint, completeTurn, failover } from "#shared/conversation/run-turn.ts";
import { streamsKeptMs } from "#shared/conversation/step.ts";
import type { StepContext } from "#shared/conversation/step.ts";
import {
  deleteTurn,
  readContext,
  readJournal,
  readTurn,
  readTurnInput,
} from "#shared/conversation/turns.ts";
import { dueWork, watchdogDueMs } from "#shared/conversation/watchdog.ts";
import type { ErrorOutcome } from "#shared/errors/gateway-error.ts";
import type { ItemRecord } from "#shared/protocol/internal/turn-outcome.ts";
import { moveOn } from "./move-work.ts";
import type { ConversationPorts } from "./ports.ts";
import { SqliteConversationStore } from "./sqlite-conversation-store.ts";
import { carryOut } from "./turn-work.ts";

/** Items wait this long for others before they go to the database, ms: one delivery for a short turn instead of two. */
const deliveryDelayMs = 1_000;
/** Deliveries per alarm; the next alarm goes on. */
const deliveriesPerAlarmMax = 50;
/** Times that a cancellation follows a turn that is being begun anew elsewhere at the same time. */
const cancelTriesMax = 3;
/** How long the caller of a move waits for its end, ms; the alarm goes on with it afterwards. */
const moveWaitMs = 5_000;
/** A move whose carrier died goes on after this, ms. */
const moveWatchMs = 1_000;
/** How long one alarm goes on with a move, ms; the next one does the rest. */
const movePerAlarmMs = 20_000;
/** How long an erasure waits for the database before it answers, ms; the outbox goes on afterwards. */
const erasureWaitMs = 2_000;

interface Failure {
  readonly kind: "refused";
  readonly error: ErrorOutcome;
}

const misplaced: Failure = {
  kind: "refused",
  error: { code: "internal_error", message: "The conversation's object is not where it must be." },
};

/**
 * One conversation in its jurisdiction: the write-ahead log of its items, the lease of its one running turn, the journal
 * of its streams. A thin shell: each method runs one step of shared/conversation in one transaction, then sets the alarm.
 */
export class Conversation extends DurableObject<Env> implements ConversationRpc {
  readonly #ports: ConversationPorts;
  readonly #store: SqliteConversationStore;
  #alarmAtMs: number | null | undefined;
  #deliveryTries = 0;
  #deliveryNotBeforeMs = 0;
  #isDelivering = false;
  /** Whether the database refused the last delivery: then new items wait as the old ones do. */
  #isHistoryFailing = false;
  #isMoving = false;
  /** After a step that failed in a way that nobody foresaw, ms: an alarm must not run in a circle. */
  #moveNotBeforeMs = 0;
  /** Ends the pause of an alarm that is under way: the turn wants something now. */
  #wake: (() => void) | null = null;
  /** Set when a sink has seen a higher incarnation: this instance is a zombie and does nothing outside any more. */
  #isFenced = false;

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    this.#ports = createConversationPorts(env);
    this.#store = new SqliteConversationStore(ctx.storage.sql);
    void ctx.blockConcurrencyWhile(async () => {
      const head = this.#store.readHead();
      if (head !== null) this.#store.writeHead({ ...head, incarnation: head.incarnation + 1 });
    });
  }

  #context(): StepContext {
    return { store: this.#store, nowMs: this.#ports.now(), policy: this.#ports.policy };
  }

  #step<Result>(run: (context: StepContext) => Result): Result {
    try {
      return this.ctx.storage.transactionSync(() => run(this.#context()));
    } catch (error) {
      this.#store.forget();
      throw error;
    }
  }

  /** In `enforce` an object outside its jurisdiction refuses every call. */
  #isInPlace(scope: ConversationScope): boolean {
    const pin = this.#ports.expectedPin(scope.jurisdiction);
    if (pin === null) return false;
    return this.#ports.mode === "emulate" || pin === "unpinned" || this.ctx.id.jurisdiction === pin;
  }

  /** A step of a call; a bug becomes `internal_error`, because a thrown class would not survive RPC. */
  async #call<Result>(
    scope: ConversationScope,
    onFailure: (failure: Failure) => Result,
    run: (context: StepContext) => Result,
  ): Promise<Result> {
    if (!this.#isInPlace(scope)) {
      this.#ports.log("objectMisplaced", { requestId: scope.requestId });
      return onFailure(misplaced);
    }
    try {
      const before = this.#store.readHead()?.nextSeq;
      const result = this.#step(run);
      // What waits for a cell that is gone does not keep new items back.
      const hasNewItems = this.#store.readHead()?.nextSeq !== before;
      if (hasNewItems && !this.#isHistoryFailing) this.#deliveryNotBeforeMs = 0;
      await this.#setAlarm();
      this.#wake?.();
      return result;
    } catch (error) {
      this.#ports.log("objectFailed", {
        requestId: scope.requestId,
        reason: error instanceof Error ? error.name : "unknown",
      });
      return onFailure({
        kind: "refused",
        error: {
          code: "internal_error",
          message: "The conversation could not be read or written.",
        },
      });
    }
  }

  #result<Value>(
    scope: ConversationScope,
    run: (context: StepContext) => ConversationResult<Value>,
  ): Promise<ConversationResult<Value>> {
    return this.#call<ConversationResult<Value>>(scope, (failure) => failure, run);
  }

  // ── conversations and items ──────────────────────────────────────────────

  async create(
    input: Parameters<ConversationRpc["create"]>[0],
  ): ReturnType<ConversationRpc["create"]> {
    return this.#result(input.scope, (context) => createConversation(context, input));
  }

  async describe(scope: ConversationScope): ReturnType<ConversationRpc["describe"]> {
    return this.#result(scope, (context) => describeConversation(context, scope));
  }

  async updateMetadata(
    input: Parameters<ConversationRpc["updateMetadata"]>[0],
  ): ReturnType<ConversationRpc["updateMetadata"]> {
    return this.#result(input.scope, (context) => updateMetadata(context, input));
  }

  async erase(scope: ConversationScope): ReturnType<ConversationRpc["erase"]> {
    const result = await this.#result(scope, (context) => eraseConversation(context, scope));
    if (result.kind !== "ok") return result;
    this.#deliveryNotBeforeMs = 0;
    await this.#deliver(this.#ports.now() + erasureWaitMs);
    await this.#setAlarm();
    return {
      kind: "ok",
      value: { isDatabaseErased: this.#store.readHead()?.erasure === "erased" },
    };
  }

  async listItems(input: ListItemsInput): ReturnType<ConversationRpc["listItems"]> {
    return this.#result(input.scope, (context) => listItems(context, input));
  }

  async readItem(
    input: Parameters<ConversationRpc["readItem"]>[0],
  ): ReturnType<ConversationRpc["readItem"]> {
    return this.#result(input.scope, (context) => readItem(context, input));
  }

  async appendItems(
    input: Parameters<ConversationRpc["appendItems"]>[0],
  ): ReturnType<ConversationRpc["appendItems"]> {
    return this.#result(input.scope, (context) => addItems(context, input));
  }

  async deleteItem(
    input: Parameters<ConversationRpc["deleteItem"]>[0],
  ): ReturnType<ConversationRpc["deleteItem"]> {
    return this.#result(input.scope, (context) => deleteItem(context, input));
  }

  // ── where it is at home ──────────────────────────────────────────────────

  async migrate(
    input: Parameters<ConversationRpc["migrate"]>[0],
  ): ReturnType<ConversationRpc["migrate"]> {
    const started = await this.#result(input.scope, (context) => startMove(context, input));
    if (started.kind !== "ok") return started;
    const late = Promise.withResolvers<void>();
    const timer = setTimeout(late.resolve, moveWaitMs);
    const moving = this.#move(this.#ports.now() + moveWaitMs).then(() => this.#setAlarm());
    await Promise.race([moving, late.promise]);
    clearTimeout(timer);
    return this.#result(input.scope, (context) => readHome(context, input.scope));
  }

  async readHome(scope: ConversationScope): ReturnType<ConversationRpc["readHome"]> {
    return this.#result(scope, (context) => readHome(context, scope));
  }

  // ── turns ────────────────────────────────────────────────────────────────

  async beginTurn(input: BeginTurnInput): Promise<BeginTurnResult> {
    return this.#call<BeginTurnResult>(
      input.scope,
      (failure) => failure,
      (context) => beginTurn(context, input),
    );
  }

  async checkpoint(input: CheckpointInput): Promise<FenceReply> {
    return this.#call<FenceReply>(
      input.scope,
      () => ({ kind: "unknownTurn" }),
      (context) => checkpoint(context, input),
    );
  }

  async completeTurn(input: CompleteTurnInput): Promise<FenceReply> {
    return this.#call<FenceReply>(
      input.scope,
      () => ({ kind: "unknownTurn" }),
      (context) => completeTurn(context, input),
    );
  }

  async failover(input: FailoverInput): Promise<FailoverResult> {
    return this.#call<FailoverResult>(
      input.scope,
      ({ error }) => ({ kind: "stop", error }),
      (context) => failover(context, input),
    );
  }

  async cancelTurn(
    input: Parameters<ConversationRpc["cancelTurn"]>[0],
  ): ReturnType<ConversationRpc["cancelTurn"]> {
    const { scope, turnRandom } = input;
    for (let tries = 0; tries < cancelTriesMax; tries += 1) {
      const requested = await this.#result(scope, (context) => requestCancel(context, input));
      if (requested.kind === "refused") return requested;
      const { value: work } = requested;
      if (work === null || this.#isFenced) break;
      await carryOut(this.#ports, (run) => this.#step(run), work);
    }
    return this.#result(scope, (context) => readCancelled(context, turnRandom));
  }

  async readTurn(
    input: Parameters<ConversationRpc["readTurn"]>[0],
  ): ReturnType<ConversationRpc["readTurn"]> {
    return this.#result(input.scope, (context) => readTurn(context, input));
  }

  async readTurnInput(
    input: Parameters<ConversationRpc["readTurnInput"]>[0],
  ): Promise<ConversationResult<readonly ItemRecord[]>> {
    return this.#result(input.scope, (context) => readTurnInput(context, input));
  }

  async readContext(
    input: Parameters<ConversationRpc["readContext"]>[0],
  ): Promise<ConversationResult<readonly ItemRecord[]>> {
    return this.#result(input.scope, (context) => readContext(context, input));
  }

  async readJournal(
    input: Parameters<ConversationRpc["readJournal"]>[0],
  ): ReturnType<ConversationRpc["readJournal"]> {
    return this.#result(input.scope, (context) => readJournal(context, input));
  }

  async deleteTurn(
    input: Parameters<ConversationRpc["deleteTurn"]>[0],
  ): ReturnType<ConversationRpc["deleteTurn"]> {
    return this.#result(input.scope, (context) => deleteTurn(context, input));
  }

  // ── alarm: outbox, watchdog, purge ───────────────────────────────────────

  /** At least once, perhaps late or twice: every part looks at what is due now and is idempotent. It never throws. */
  override async alarm(): Promise<void> {
    this.#alarmAtMs = null;
    try {
      const nowMs = this.#ports.now();
      await this.#drive(
        Promise.all([this.#deliver(nowMs + 20_000), this.#move(nowMs + movePerAlarmMs)]),
      );
      this.#step((context) => context.store.purge(context.nowMs, streamsKeptMs(context)));
    } catch (error) {
      this.#ports.log("alarmFailed", { reason: error instanceof Error ? error.name : "unknown" });
      this.#deliveryNotBeforeMs = this.#ports.now() + this.#ports.policy.deliveryRetryBaseMs;
    }
    await this.#setAlarm();
  }

  async #send(delivery: Delivery): Promise<Parameters<typeof confirmDelivery>[2]> {
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

  /**
   * Delivers the outbox until it is empty or `untilMs` has passed. What fails is left for later, and so is what must come
   * after it; the rest goes on: a cell that is gone must not keep the history from the database. One runs at a time.
   */
  async #deliver(untilMs: number): Promise<void> {
    if (this.#isDelivering || this.#isFenced) return;
    this.#isDelivering = true;
    const failedIds = new Set<number>();
    let hasHistory = false;
    try {
      for (let count = 0; count < deliveriesPerAlarmMax; count += 1) {
        const nowMs = this.#ports.now();
        if (nowMs < this.#deliveryNotBeforeMs || nowMs >= untilMs) return;
        const delivery = nextDelivery(this.#context(), { outboxIds: failedIds, hasHistory });
        if (delivery === null) break;
        const reply = await this.#send(delivery);
        const result = this.#step((context) => confirmDelivery(context, delivery, reply));
        if (result === "fenced") {
          this.#isFenced = true;
          this.#ports.log("objectFenced", {});
          return;
        }
        if (result === "delivered") continue;
        for (const id of delivery.outboxIds) failedIds.add(id);
        hasHistory ||= delivery.kind === "history";
      }
      this.#isHistoryFailing = hasHistory;
      if (failedIds.size === 0 && !hasHistory) {
        this.#deliveryTries = 0;
        return;
      }
      this.#deliveryNotBeforeMs =
        this.#ports.now() + deliveryRetryMs(this.#context(), this.#deliveryTries);
      this.#deliveryTries += 1;
    } finally {
      this.#isDelivering = false;
    }
  }

  /** Carries a move on until nothing of it is due or `untilMs` has passed. One runs at a time. */
  async #move(untilMs: number): Promise<void> {
    if (this.#isMoving) return;
    this.#isMoving = true;
    try {
      while (!this.#isFenced && this.#ports.now() < untilMs) {
        const result = await moveOn(this.#ports, this.#store, (run) => this.#step(run));
        if (result === null) return;
        if (result === "fenced") {
          this.#isFenced = true;
          this.#ports.log("objectFenced", {});
        }
      }
    } catch (error) {
      this.#moveNotBeforeMs = this.#ports.now() + moveWatchMs;
      this.#ports.log("moveFailed", { reason: error instanceof Error ? error.name : "unknown" });
    } finally {
      this.#isMoving = false;
    }
  }

  /** Does what is due for the running turn, beside a delivery that may take long; returns when both have nothing to do. */
  async #drive(delivering: Promise<unknown>): Promise<unknown> {
    let isDelivered = false;
    const delivered = delivering.finally(() => {
      isDelivered = true;
    });
    for (;;) {
      if (this.#isFenced) return delivered;
      const work = dueWork(this.#context());
      if (work !== null) await carryOut(this.#ports, (run) => this.#step(run), work);
      else if (isDelivered) return delivered;
      else await this.#nextWork(delivered);
    }
  }

  /** Waits until the turn wants something, or `until` is over. */
  async #nextWork(until: Promise<unknown>): Promise<void> {
    const woken = Promise.withResolvers<void>();
    this.#wake = woken.resolve;
    const dueMs = watchdogDueMs(this.#context());
    const timer =
      dueMs === null ? null : setTimeout(woken.resolve, Math.max(1, dueMs - this.#ports.now()));
    try {
      await Promise.race([woken.promise, until]);
    } finally {
      this.#wake = null;
      if (timer !== null) clearTimeout(timer);
    }
  }

  /** Sets the alarm at the earliest due time; writes only when that changes. */
  async #setAlarm(): Promise<void> {
    const context = this.#context();
    const due: number[] = [];
    if (!this.#isFenced && hasDelivery(context)) {
      due.push(Math.max(context.nowMs + deliveryDelayMs, this.#deliveryNotBeforeMs));
    }
    const watchMs = watchdogDueMs(context);
    if (watchMs !== null && !this.#isFenced) due.push(watchMs);
    const moveMs = moveDueMs(context);
    if (moveMs !== null && !this.#isFenced) {
      // Whoever carries the move sets the alarm afterwards; this one is for the case that it dies.
      const notBeforeMs = this.#isMoving ? context.nowMs + moveWatchMs : this.#moveNotBeforeMs;
      due.push(Math.max(moveMs, notBeforeMs));
    }
    if (this.#alarmAtMs === undefined) this.#alarmAtMs = await this.ctx.storage.getAlarm();
    if (due.length === 0) {
      const purgeMs = this.#store.nextPurgeMs(streamsKeptMs(context));
      if (purgeMs === null || purgeMs >= neverMs) return;
      due.push(purgeMs);
    }
    const wantedMs = Math.min(...due);
    if (this.#alarmAtMs !== null && this.#alarmAtMs <= wantedMs) return;
    this.#alarmAtMs = wantedMs;
    await this.ctx.storage.setAlarm(wantedMs);
  }
}
