import { composeEngineBody } from "#shared/conversation/compose-turn.ts";
import { advanceMove, applyMove } from "#shared/conversation/move.ts";
import type { MoveReply, MoveResult, MoveWork } from "#shared/conversation/move.ts";
import { historyItem } from "#shared/conversation/move-copy.ts";
import type { ConversationHead, ConversationStore } from "#shared/conversation/store.ts";
import { historyLink } from "#shared/protocol/internal/history.ts";
import type { ConversationPorts } from "./ports.ts";
import type { RunStep } from "./turn-work.ts";

/** Items that are read at a time for the chain. */
const pageItems = 200;

/** The chain of the object's own items; none is added or deleted meanwhile, because the conversation is frozen. */
async function chainOf(
  ports: ConversationPorts,
  store: ConversationStore,
  toSeq: number,
): Promise<string> {
  let chain = "";
  for (let fromSeq = 1; fromSeq <= toSeq; fromSeq += pageItems) {
    const last = Math.min(toSeq, fromSeq + pageItems - 1);
    for (const item of store.readItems(fromSeq, last, pageItems)) {
      chain = await ports.sha256Hex(historyLink(chain, historyItem(item)));
    }
  }
  return chain;
}

async function prewarm(
  ports: ConversationPorts,
  head: ConversationHead,
  work: MoveWork & { kind: "prewarm" },
): Promise<MoveReply> {
  const { template } = work;
  const { model } = template.engine;
  const served = ports.servedModel(head.jurisdiction, model);
  const engine = served === null ? null : composeEngineBody(template, work.items, served.model);
  if (engine === null || !engine.ok) return { kind: "prewarm", reply: { kind: "none" } };
  const { conversationId, jurisdiction, tenant } = head;
  const reply = await ports.prewarm(work.cell, {
    v: 1,
    tenant,
    jurisdiction,
    conversationId,
    model,
    shard: work.shard,
    affinityKey: template.affinityKey,
    body: engine.body,
    promptTokensEstimate: engine.promptTokensEstimate,
    requestId: work.moveId,
  });
  return { kind: "prewarm", reply };
}

/** Does the next thing that the move needs and takes in what came of it; null when nothing is due. Repeatable. */
export async function moveOn(
  ports: ConversationPorts,
  store: ConversationStore,
  step: RunStep,
): Promise<MoveResult | null> {
  const work = step((context) => advanceMove(context));
  const head = store.readHead();
  if (work === null || head === null) return null;
  if (work.kind === "prewarm") {
    const reply = await prewarm(ports, head, work);
    return step((context) => applyMove(context, work, reply));
  }
  const reply = await ports.deliverHistory(work.cell, work.command);
  const ownChain = work.kind === "sealNew" ? await chainOf(ports, store, work.toSeq) : "";
  return step((context) => applyMove(context, work, { kind: "history", reply, ownChain }));
}
