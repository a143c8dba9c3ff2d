import { carryOut } from "#edge/objects/turn-work.ts";
import { moveOn } from "#edge/objects/move-work.ts";
import { createTurnRegistry } from "#regional/turns/turn-registry.ts";
import { reserve, settle } from "#shared/budget/ledger.ts";
import { beginTurn } from "#shared/conversation/begin-turn.ts";
import { readCancelled, requestCancel } from "#shared/conversation/cancel-turn.ts";
import { eraseConversation } from "#shared/conversation/items.ts";
import { readHome, startMove } from "#shared/conversation/move.ts";
import { confirmDelivery, nextDelivery } from "#shared/conversation/outbox.ts";
import { stepRelay } from "#shared/conversation/relay.ts";
import { checkpoint, completeTurn, failover } from "#shared/conversation/run-turn.ts";
import { readJournal } from "#shared/conversation/turns.ts";
import { dueWork } from "#shared/conversation/watchdog.ts";
import { executeHistory } from "./database.ts";

/** The machines under test, as the product has them. A mutant replaces one of them; nothing else does. */
export const productMachines = {
  beginTurn,
  checkpoint,
  completeTurn,
  failover,
  readJournal,
  requestCancel,
  readCancelled,
  eraseConversation,
  startMove,
  readHome,
  nextDelivery,
  confirmDelivery,
  dueWork,
  carryOut,
  moveOn,
  stepRelay,
  reserve,
  settle,
  createTurnRegistry,
  executeHistory,
};

export type Machines = typeof productMachines;
