import type { HistoryCommand, HistoryReply } from "../protocol/internal/history.ts";
import type { PrewarmReply } from "../protocol/internal/prewarm.ts";
import type { ItemRecord } from "../protocol/internal/turn-outcome.ts";
import type { CellId, ShardId } from "../residency/brands.ts";
import { copyPiece, historyBase, releaseCommands } from "./move-copy.ts";
import { defaultMovePolicy, isMoving } from "./move-state.ts";
import type { ConversationMove, HomeView, MovePolicy, MoveView } from "./move-state.ts";
import type { ConversationResult, ConversationScope, MigrateInput, TurnTemplate } from "./rpc.ts";
import { notFound, openHead, readHistory, refuse } from "./step.ts";
import type { StepContext } from "./step.ts";
import type { ConversationHead } from "./store.ts";

/** What the move needs of the world outside the object; every call may be made again. */
export type MoveWork =
  | {
      readonly kind: "prewarm";
      readonly moveId: string;
      readonly cell: CellId;
      readonly shard: ShardId | null;
      readonly template: TurnTemplate;
      readonly items: readonly ItemRecord[];
    }
  | {
      readonly kind: "clear" | "append" | "sealOld" | "sealNew";
      readonly moveId: string;
      readonly cell: CellId;
      readonly command: HistoryCommand;
      /** Seq of the last item of the piece. */
      readonly toSeq: number;
    };

/** What came of it. */
export type MoveReply =
  /** `none`: the history cannot be made a prompt. */
  | {
      readonly kind: "prewarm";
      readonly reply: PrewarmReply | { readonly kind: "unreachable" | "none" };
    }
  /** `ownChain`: of a `sealNew`, the chain over the object's own items; else empty. */
  | { readonly kind: "history"; readonly reply: HistoryReply; readonly ownChain: string };

/** The move goes on, or a higher incarnation of the object was seen: this one is a zombie and must stop. */
export type MoveResult = "goOn" | "fenced";

function templateOf({ store }: StepContext, head: ConversationHead): TurnTemplate | null {
  const random = head.runningTurnRandom ?? head.lastTurnRandom;
  return random === null ? null : (store.readTurn(random)?.template ?? null);
}

/**
 * Begins a move of the conversation's home: to another shard or cell, and where the region is another one with its history.
 * Durable when the transaction is; {@link advanceMove} carries it. A second mover with the same destination joins, one with
 * another is refused.
 */
export function startMove(context: StepContext, input: MigrateInput): ConversationResult<HomeView> {
  const head = openHead(context, input.scope);
  if (head === null) return notFound("The conversation was");
  // The call was made before, and its reply was lost.
  if (head.move?.moveId === input.moveId) return { kind: "ok", value: viewHome(context, head) };
  const model = templateOf(context, head)?.engine.model ?? null;
  const to = input.destinations.find(({ models }) => model === null || models.includes(model));
  if (to === undefined) {
    return refuse(
      "invalid_request",
      "The destination does not serve the model that the conversation uses.",
    );
  }
  if (isMoving(head.move)) {
    const isSame =
      head.move.toCell === to.cell && (to.shard === null || head.move.toShard === to.shard);
    return isSame
      ? { kind: "ok", value: viewHome(context, head) }
      : refuse("conversation_locked", "The conversation is being moved elsewhere.", {
          retryAfterMs: context.policy.lockedRetryAfterMs,
        });
  }
  const { nowMs } = context;
  const oldRegion = input.regions[head.historyCell];
  const copiesHistory = oldRegion !== to.region;
  const next: ConversationHead = {
    ...head,
    move: {
      v: 1,
      moveId: input.moveId,
      step: "warming",
      fromCell: head.homeCell,
      fromShard: head.homeShard,
      fromHistoryCell: head.historyCell,
      toCell: to.cell,
      toShard: to.shard,
      copiesHistory,
      releasesOld: copiesHistory && oldRegion !== undefined,
      prewarm: null,
      isCleared: false,
      copiedSeq: 0,
      isOldSealed: oldRegion === undefined,
      recopies: 0,
      failures: 0,
      dueMs: nowMs,
      startedAtMs: nowMs,
      stepAtMs: nowMs,
      endedAtMs: null,
      reason: null,
    },
  };
  context.store.writeHead(next);
  return { kind: "ok", value: viewHome(context, next) };
}

/** When the move wants to be advanced, ms since the epoch; null when none is under way. */
export function moveDueMs(
  context: StepContext,
  policy: MovePolicy = defaultMovePolicy,
): number | null {
  const head = context.store.readHead();
  if (head === null || head.erasure !== "none" || !isMoving(head.move)) return null;
  const { dueMs, step, stepAtMs } = head.move;
  // The end of the running turn is a step of its own, after which this is asked again.
  const isWaiting = step === "freezing" && head.runningTurnRandom !== null;
  return isWaiting ? stepAtMs + policy.waitingMsMax : dueMs;
}

function write(
  { store }: StepContext,
  head: ConversationHead,
  move: ConversationMove,
): ConversationHead {
  const next = { ...head, move };
  store.writeHead(next);
  return next;
}

/** The move at the beginning of another step. */
function enter(
  move: ConversationMove,
  step: ConversationMove["step"],
  nowMs: number,
): ConversationMove {
  return { ...move, step, stepAtMs: nowMs, dueMs: nowMs, failures: 0 };
}

/**
 * Gives the move up: the home stays where it was. What was copied is released under a raised fence, so that no piece of
 * the copy that is still on its way can be written after that.
 */
function giveUp(context: StepContext, head: ConversationHead, reason: string): ConversationHead {
  const { move } = head;
  if (!isMoving(move)) return head;
  const hasCopied = move.step === "copying" || move.step === "fencing";
  const next: ConversationHead = {
    ...head,
    incarnation: head.incarnation + (hasCopied ? 1 : 0),
    move: { ...enter(move, "failed", context.nowMs), endedAtMs: context.nowMs, reason },
  };
  if (hasCopied) {
    for (const entry of releaseCommands(next, move.toCell, [])) context.store.addOutbox(entry);
  }
  context.store.writeHead(next);
  return next;
}

/**
 * Ends the move when the conversation is erased. Call after the store was cleared; writes the head and the release of
 * what was copied.
 */
export function giveUpForErasure(context: StepContext, head: ConversationHead): ConversationHead {
  return giveUp(context, head, "erased");
}

/**
 * The switch, in one transaction: from here on the destination is the home and its region keeps the history, and what the
 * old region had is released, with the usage that was still to be written there. The fence is raised once more, so that
 * nothing that was sent to the old region before comes after the release.
 */
function flip(context: StepContext, head: ConversationHead, move: ConversationMove): void {
  const { nowMs, store } = context;
  const { copiesHistory, fromHistoryCell, releasesOld, toCell, toShard } = move;
  const next: ConversationHead = {
    ...head,
    incarnation: head.incarnation + (copiesHistory ? 1 : 0),
    homeCell: toCell,
    homeShard: toShard,
    historyCell: toCell,
    deliveredSeq: copiesHistory ? head.nextSeq - 1 : head.deliveredSeq,
    move: { ...enter(move, "done", nowMs), endedAtMs: nowMs },
  };
  if (releasesOld) {
    // All of it: a row that stayed would be billed in both regions.
    const rows = store.readOutbox(Number.MAX_SAFE_INTEGER);
    const usage = rows.flatMap(({ id, entry }) =>
      entry.kind === "usage" ? [{ id, usage: entry.usage }] : [],
    );
    for (const { id } of usage) store.deleteOutbox(id);
    const kept = usage.map((row) => row.usage);
    for (const entry of releaseCommands(next, fromHistoryCell, kept)) store.addOutbox(entry);
  }
  store.writeHead(next);
}

/**
 * Takes the steps that need nothing from outside, and says what the next one needs; null when nothing is due. Looks only
 * at what is stored: after a crash the same work comes again, and each piece of it is repeatable.
 */
export function advanceMove(
  context: StepContext,
  policy: MovePolicy = defaultMovePolicy,
): MoveWork | null {
  const { nowMs } = context;
  for (;;) {
    const head = context.store.readHead();
    if (head === null || head.erasure !== "none" || !isMoving(head.move)) return null;
    const { move } = head;
    const ageMs = nowMs - move.stepAtMs;
    switch (move.step) {
      case "warming": {
        const template = templateOf(context, head);
        if (template === null || template.engine.path !== "chat/completions") {
          write(context, head, enter(move, "freezing", nowMs));
          continue;
        }
        if (ageMs > policy.warmingMsMax) giveUp(context, head, "prewarmLimited");
        else if (move.dueMs <= nowMs) {
          const items = readHistory(context, head.nextSeq - 1);
          const { moveId, toCell: cell, toShard: shard } = move;
          return { kind: "prewarm", moveId, cell, shard, template, items };
        } else return null;
        continue;
      }
      case "freezing":
        if (head.runningTurnRandom !== null) {
          if (ageMs < policy.waitingMsMax) return null;
          giveUp(context, head, "turnTooLong");
        } else if (move.copiesHistory) {
          write(context, head, enter(move, "copying", nowMs));
        } else flip(context, head, move);
        continue;
      case "copying":
      case "fencing":
        if (ageMs > policy.frozenMsMax) {
          giveUp(context, head, "copyTooSlow");
          continue;
        }
        if (move.step === "copying" && move.isCleared && move.copiedSeq >= head.nextSeq - 1) {
          // Both steps share one bound: turns are refused in both.
          const fencing = { ...enter(move, "fencing", nowMs), stepAtMs: move.stepAtMs };
          // Whatever of the copy is still on its way comes too late once the destination is sealed with this fence.
          write(context, { ...head, incarnation: head.incarnation + 1 }, fencing);
          continue;
        }
        return move.dueMs <= nowMs ? frozenWork(context, head, move, policy) : null;
      case "done":
      case "failed":
        return null;
    }
  }
}

function frozenWork(
  context: StepContext,
  head: ConversationHead,
  move: ConversationMove,
  policy: MovePolicy,
): MoveWork {
  const { copiedSeq, fromHistoryCell, moveId, toCell } = move;
  const base = historyBase(head);
  if (move.step === "fencing") {
    const command = { ...base, kind: "seal" } as const;
    const toSeq = head.nextSeq - 1;
    return move.isOldSealed
      ? { kind: "sealNew", moveId, cell: toCell, command, toSeq }
      : { kind: "sealOld", moveId, cell: fromHistoryCell, command, toSeq };
  }
  if (!move.isCleared) {
    const command = { ...base, kind: "release", usage: [] } as const;
    return { kind: "clear", moveId, cell: toCell, command, toSeq: 0 };
  }
  const command = copyPiece(context, head, copiedSeq + 1, policy);
  const toSeq = command.items.at(-1)?.seq ?? copiedSeq;
  return { kind: "append", moveId, cell: toCell, command, toSeq };
}

/** Takes a reply in, if the move is still at the step that asked. */
export function applyMove(
  context: StepContext,
  work: MoveWork,
  reply: MoveReply,
  policy: MovePolicy = defaultMovePolicy,
): MoveResult {
  const head = context.store.readHead();
  if (head === null || head.erasure !== "none") return "goOn";
  const { move } = head;
  if (!isMoving(move) || move.moveId !== work.moveId) return "goOn";
  if (reply.kind === "prewarm") {
    if (move.step === "warming") afterPrewarm(context, head, move, reply.reply, policy);
    return "goOn";
  }
  if (reply.reply.kind === "fenced" && reply.reply.fence > head.incarnation) return "fenced";
  const isCopying = work.kind === "clear" || work.kind === "append";
  if (move.step !== (isCopying ? "copying" : "fencing")) return "goOn";
  if (work.kind === "sealOld") afterOldSeal(context, head, move, reply.reply, policy);
  else if (work.kind === "sealNew") afterNewSeal(context, head, move, reply, policy);
  else if (work.kind !== "prewarm") afterCopy(context, head, move, work, reply.reply, policy);
  return "goOn";
}

function retry(
  context: StepContext,
  head: ConversationHead,
  move: ConversationMove,
  reason: string,
  policy: MovePolicy,
): void {
  const failures = move.failures + 1;
  if (failures > policy.failuresMax) giveUp(context, head, reason);
  else write(context, head, { ...move, failures, dueMs: context.nowMs + policy.retryMs });
}

function afterPrewarm(
  context: StepContext,
  head: ConversationHead,
  move: ConversationMove,
  reply: (MoveReply & { kind: "prewarm" })["reply"],
  policy: MovePolicy,
): void {
  const { nowMs } = context;
  switch (reply.kind) {
    case "warmed": {
      const { cachedTokens, promptTokens, shard } = reply;
      const warmed: ConversationMove = {
        ...enter(move, "freezing", nowMs),
        toShard: shard as ShardId,
        prewarm: { promptTokens, cachedTokens },
      };
      write(context, head, warmed);
      return;
    }
    case "none":
      write(context, head, enter(move, "freezing", nowMs));
      return;
    case "limited":
      write(context, head, { ...move, failures: 0, dueMs: nowMs + reply.retryAfterMs });
      return;
    case "unavailable":
    case "unreachable":
      retry(context, head, move, "destinationUnavailable", policy);
  }
}

function afterCopy(
  context: StepContext,
  head: ConversationHead,
  move: ConversationMove,
  work: MoveWork & { readonly toSeq: number },
  reply: HistoryReply,
  policy: MovePolicy,
): void {
  const gone = { ...move, failures: 0, dueMs: context.nowMs };
  switch (reply.kind) {
    case "applied":
    case "duplicate":
      write(context, head, { ...gone, isCleared: true, copiedSeq: work.toSeq });
      return;
    case "gap":
      // A piece was lost or had come before: on from what is there.
      if (reply.nextSeq <= head.nextSeq && reply.nextSeq - 1 !== move.copiedSeq) {
        write(context, head, { ...gone, copiedSeq: reply.nextSeq - 1 });
      } else copyAgain(context, head, move, policy);
      return;
    case "fenced":
    case "sealed":
      copyAgain(context, head, move, policy);
      return;
    case "erased":
      giveUp(context, head, "erasedThere");
      return;
    case "unavailable":
      retry(context, head, move, "destinationUnavailable", policy);
  }
}

function afterOldSeal(
  context: StepContext,
  head: ConversationHead,
  move: ConversationMove,
  reply: HistoryReply,
  policy: MovePolicy,
): void {
  const { nowMs } = context;
  const failures = move.failures + 1;
  // Without the old region nothing is lost: the object decides where the history is, and releases the old copy later.
  const isDone = reply.kind !== "unavailable" || failures > policy.oldSealFailuresMax;
  if (isDone) write(context, head, { ...move, isOldSealed: true, failures: 0, dueMs: nowMs });
  else write(context, head, { ...move, failures, dueMs: nowMs + policy.retryMs });
}

function afterNewSeal(
  context: StepContext,
  head: ConversationHead,
  move: ConversationMove,
  { ownChain, reply }: MoveReply & { kind: "history" },
  policy: MovePolicy,
): void {
  if (reply.kind === "unavailable") {
    retry(context, head, move, "destinationUnavailable", policy);
    return;
  }
  const isSame =
    reply.kind === "sealed" && reply.nextSeq === head.nextSeq && reply.chain === ownChain;
  if (isSame) flip(context, head, move);
  else copyAgain(context, head, move, policy);
}

/** The copy is not what it must be: it is made anew. */
function copyAgain(
  context: StepContext,
  head: ConversationHead,
  move: ConversationMove,
  policy: MovePolicy,
): void {
  const recopies = move.recopies + 1;
  if (recopies > policy.recopiesMax) {
    giveUp(context, head, "historyDiffers");
    return;
  }
  const { stepAtMs } = move;
  const again = { ...enter(move, "copying", context.nowMs), stepAtMs };
  write(context, head, { ...again, recopies, isCleared: false, copiedSeq: 0 });
}

/** Where the conversation is at home, and its move. */
export function readHome(
  context: StepContext,
  scope: ConversationScope,
): ConversationResult<HomeView> {
  const head = openHead(context, scope);
  return head === null
    ? notFound("The conversation was")
    : { kind: "ok", value: viewHome(context, head) };
}

function viewHome(context: StepContext, head: ConversationHead): HomeView {
  const { historyCell, homeCell, homeShard, move } = head;
  const view = move === null || move === undefined ? null : viewMove(context, head, move);
  return { homeCell, homeShard, historyCell, move: view };
}

function viewMove(context: StepContext, head: ConversationHead, move: ConversationMove): MoveView {
  const isLeaving = context.store
    .readOutbox(Number.MAX_SAFE_INTEGER)
    .some(({ entry }) => entry.kind === "release" && entry.cell === move.fromHistoryCell);
  const isSwitched = move.step === "done" && move.releasesOld;
  const { copiesHistory, fromCell, fromShard, moveId, prewarm, step, toCell, toShard } = move;
  return {
    moveId,
    step,
    fromCell,
    fromShard,
    toCell,
    toShard,
    copiesHistory,
    items: head.nextSeq - 1,
    copiedItems: move.copiedSeq,
    prewarm,
    oldCopy: !copiesHistory ? null : !isSwitched ? "kept" : isLeaving ? "leaving" : "gone",
    startedAtMs: move.startedAtMs,
    endedAtMs: move.endedAtMs,
    reason: move.reason,
  };
}
