import { readPulledText } from "#edge/adapters/pulled-frames.ts";
import type { ConversationPorts } from "#edge/objects/ports.ts";
import { costMicroUsd } from "#shared/budget/cost.ts";
import type { ConversationPolicy } from "#shared/conversation/policy.ts";
import type { PullFinding } from "#shared/conversation/watchdog.ts";
import type { CellId } from "#shared/residency/brands.ts";
import type { Process } from "../process.ts";
import { callCell } from "./calls.ts";
import { digest } from "./database.ts";
import { cellPlans, modelId } from "./ids.ts";
import type { ObjectStorage } from "./object-storage.ts";
import type { Pipe } from "./pipe.ts";
import { simModel } from "./worker-plan.ts";
import type { World } from "./world.ts";

/** As edge/adapters/conversation-ports.ts has them. */
const deliveryTimeoutMs = 10_000;
const pullTimeoutMs = 4_000;
const abortTimeoutMs = 3_000;
const answerTimeoutMs = 1_500;
const stopTimeoutMs = 1_000;
const decoder = new TextDecoder();

/** The ports of one instance, over the simulated network; mirrors edge/adapters/conversation-ports.ts. */
export function createSimPorts(
  world: World,
  process: Process,
  storage: ObjectStorage,
  policy: ConversationPolicy,
): ConversationPorts {
  const { kernel, network } = world;

  const pull = async (
    cellId: CellId,
    address: { readonly turnId: string; readonly attempt: number; readonly afterSeq: number },
  ): Promise<PullFinding> => {
    await storage.gate();
    const { turnId, attempt, afterSeq } = address;
    const head = await callCell(
      world,
      process,
      cellId,
      "follow",
      answerTimeoutMs,
      () => "",
      (cell, sentAtMs) => cell.follow(turnId, attempt, afterSeq, sentAtMs),
    );
    if (!head.ok) return { kind: "unreachable" };
    if (head.value.kind === "notFound") return { kind: "unknown" };
    if (head.value.kind !== "stream") return { kind: "unreachable" };
    const { open } = head.value;
    return new Promise((resolve) => {
      let text = "";
      let isOver = false;
      let pipe: Pipe<Uint8Array> | null = null;
      const end = (): void => {
        if (isOver) return;
        isOver = true;
        timer.run = null;
        pipe?.close();
        resolve(readPulledText(text, afterSeq));
      };
      const timer = kernel.at(pullTimeoutMs, process, "object.pulled", end);
      const stream = new TextDecoder();
      pipe = open(process, {
        chunk: (bytes) => {
          if (!isOver) text += stream.decode(bytes, { stream: true });
        },
        ended: end,
        cut: end,
      });
    });
  };

  return {
    now: () => process.now(),
    policy,
    mode: "emulate",
    expectedPin: () => "unpinned",
    log: () => undefined,
    async deliverHistory(cellId, command) {
      const home = cellPlans.find(({ id }) => id === cellId);
      const cells = cellPlans.filter(({ region }) => region === home?.region);
      for (const { id } of [...cells].sort(
        (a, b) => Number(b.id === cellId) - Number(a.id === cellId),
      )) {
        await storage.gate();
        const content = (): string => JSON.stringify(command);
        const reply = await callCell(
          world,
          process,
          id,
          "history",
          deliveryTimeoutMs,
          content,
          (cell) => cell.history(command),
        );
        if (reply.ok && reply.value.kind !== "unavailable") return reply.value;
      }
      return { kind: "unavailable" };
    },
    async abortTurn(cellId, turnId, attempt) {
      await storage.gate();
      const reply = await callCell(
        world,
        process,
        cellId,
        "abort",
        abortTimeoutMs,
        () => "",
        (cell) => cell.remove(turnId, attempt),
      );
      return reply.ok ? "aborted" : "unreachable";
    },
    pullTurn: (address) => pull(address.cell, address),
    async dispatchTurn(request) {
      await storage.gate();
      const content = (): string => JSON.stringify(request);
      const head = await callCell(
        world,
        process,
        request.cell,
        "dispatch",
        answerTimeoutMs,
        content,
        (cell, sentAtMs) => cell.begin(request, true, sentAtMs),
      );
      if (!head.ok) return { kind: "unreachable" };
      if (head.value.kind === "started") return { kind: "started" };
      if (head.value.kind !== "refused") return { kind: "unreachable" };
      return { kind: "refused", error: head.value.error, mayMove: true };
    },
    async stopTurn({ cell: cellId, turnId, attempt, afterSeq }) {
      await storage.gate();
      const reply = await callCell(
        world,
        process,
        cellId,
        "stop",
        stopTimeoutMs,
        () => "",
        (cell) => cell.stop(turnId, attempt, afterSeq),
      );
      if (!reply.ok) return { kind: "unreachable" };
      if (reply.value === null) return { kind: "unknown" };
      const { outcome, segment, terminal } = readPulledText(reply.value, afterSeq);
      return { kind: "stopped", outcome, segment, terminal };
    },
    async acknowledge({ cell: cellId, turnId, attempt }, seq) {
      await storage.gate();
      await callCell(
        world,
        process,
        cellId,
        "acknowledge",
        answerTimeoutMs,
        () => "",
        (cell) => cell.acknowledge(turnId, attempt, seq),
      );
    },
    servedModel: (jurisdiction) => ({
      model: simModel,
      cells: cellPlans.filter(({ zone }) => zone === jurisdiction).map(({ id }) => id),
    }),
    async prewarm(cellId, request) {
      await storage.gate();
      const reply = await callCell(
        world,
        process,
        cellId,
        "prewarm",
        50_000,
        () => JSON.stringify(request),
        (cell) => ({
          kind: "warmed" as const,
          shard: cell.plan.shards[0] as string,
          promptTokens: 10,
          cachedTokens: 0,
        }),
      );
      return reply.ok ? reply.value : { kind: "unreachable" };
    },
    sha256Hex: (text) => Promise.resolve(digest(text)),
    async settle({ tenant, jurisdiction, reservationId, model, promptTokens, completionTokens }) {
      await storage.gate();
      const node = world.ledgerOf(jurisdiction, tenant);
      const tokens = { prompt: promptTokens, completion: completionTokens };
      const costs = model === modelId ? costMicroUsd(simModel, tokens) : 0;
      const reply = await network.call({
        from: process,
        to: () => node.process,
        toName: node.name,
        toZone: jurisdiction,
        kind: "settle",
        content: () => "",
        timeoutMs: 5_000,
        handle: () =>
          node.settle({
            reservationId,
            used: { tokens: promptTokens + completionTokens, costMicroUsd: costs },
          }),
      });
      return reply.ok ? "settled" : "unavailable";
    },
  };
}

/** Text of bytes that hold whole characters. */
export function textOf(bytes: Uint8Array): string {
  return decoder.decode(bytes);
}
