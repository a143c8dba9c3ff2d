import { afterCancel } from "#shared/conversation/cancel-turn.ts";
import { composeEngineBody, composeTurnRequest } from "#shared/conversation/compose-turn.ts";
import type { StepContext } from "#shared/conversation/step.ts";
import { afterDispatch, afterPull } from "#shared/conversation/watchdog.ts";
import type { Dispatch, DispatchReply, Pull, TurnWork } from "#shared/conversation/watchdog.ts";
import type { CellId } from "#shared/residency/brands.ts";
import type { ConversationPorts, ServedModel } from "./ports.ts";

/** Runs one step in one transaction. */
export type RunStep = <Result>(run: (context: StepContext) => Result) => Result;

const modelGone: DispatchReply = {
  kind: "refused",
  error: {
    code: "model_not_found",
    message: "The model does not exist in this jurisdiction any more.",
    param: "model",
  },
  mayMove: false,
};

function dispatch(
  ports: ConversationPorts,
  work: Dispatch,
  served: ServedModel | null,
): Promise<DispatchReply> {
  if (served === null) return Promise.resolve(modelGone);
  const engine = composeEngineBody(work.template, work.lease.items, served.model);
  if (!engine.ok) return Promise.resolve({ kind: "refused", error: engine.error, mayMove: false });
  const request = composeTurnRequest(work.template, work.lease, work.owner, engine);
  return ports.dispatchTurn(request, work.traceparent);
}

async function pull(
  ports: ConversationPorts,
  step: RunStep,
  work: Pull,
  cells: readonly CellId[],
): Promise<void> {
  const finding = await ports.pullTurn(work);
  step((context) => afterPull(context, work, finding, cells));
  if (finding.kind !== "frames") return;
  const toSeq = finding.terminal?.toSeq ?? finding.segment?.toSeq ?? null;
  // What is journaled need not stay in the cell, whose buffer is bounded.
  if (toSeq !== null) await ports.acknowledge(work, toSeq);
}

/** Does one thing for the running turn at a cell and takes in what came of it. Repeatable: every call names its attempt. */
export async function carryOut(
  ports: ConversationPorts,
  step: RunStep,
  work: TurnWork,
): Promise<void> {
  if (work.kind === "cancel") {
    const reply = await ports.stopTurn(work);
    step((context) => afterCancel(context, work, reply));
    return;
  }
  const served = step(({ store }) => {
    const head = store.readHead();
    const turn = head?.runningTurnRandom == null ? null : store.readTurn(head.runningTurnRandom);
    if (head === null || turn === null) return null;
    return ports.servedModel(head.jurisdiction, turn.template.engine.model);
  });
  const cells = served?.cells ?? [];
  if (work.kind === "pull") return pull(ports, step, work, cells);
  const reply = await dispatch(ports, work, served);
  step((context) => afterDispatch(context, work, reply, cells));
}
